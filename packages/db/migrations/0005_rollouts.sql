ALTER TABLE "deployments" ADD COLUMN "abort_requested_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "deployments" ADD COLUMN "paused_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "deployments" ADD COLUMN "promote_from" integer;--> statement-breakpoint
ALTER TABLE "deployments" ADD COLUMN "promote_to" integer;--> statement-breakpoint
ALTER TABLE "deployments" ADD COLUMN "rollout" jsonb;--> statement-breakpoint
ALTER TABLE "deployments" ADD COLUMN "trouble" jsonb;--> statement-breakpoint
ALTER TABLE "deployments" ADD COLUMN "rolled_back" jsonb;--> statement-breakpoint
ALTER TABLE "replicas" ADD COLUMN "ends" jsonb DEFAULT '[]'::jsonb NOT NULL;