ALTER TABLE "deployments" ADD COLUMN "revision_suffix" text;--> statement-breakpoint
ALTER TABLE "services" ADD COLUMN "revision_history_limit" integer DEFAULT 20 NOT NULL;--> statement-breakpoint
ALTER TABLE "services" ADD COLUMN "session_affinity" text DEFAULT 'none' NOT NULL;