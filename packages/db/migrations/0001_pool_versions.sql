ALTER TABLE "pools" ADD COLUMN "uid" text;--> statement-breakpoint
UPDATE "pools" SET "uid" = 'pol-' || left(md5("name" || random()::text), 16);--> statement-breakpoint
ALTER TABLE "pools" ALTER COLUMN "uid" SET NOT NULL;--> statement-breakpoint
ALTER TABLE "pools" ADD COLUMN "generation" integer DEFAULT 1 NOT NULL;--> statement-breakpoint
ALTER TABLE "pools" ADD CONSTRAINT "pools_uid_unique" UNIQUE("uid");
