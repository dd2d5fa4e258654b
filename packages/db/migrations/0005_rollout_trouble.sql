ALTER TABLE "deployments" ADD COLUMN "trouble" jsonb;--> statement-breakpoint
ALTER TABLE "deployments" ADD COLUMN "rolled_back" jsonb;--> statement-breakpoint
ALTER TABLE "replicas" ADD COLUMN "ends" jsonb DEFAULT '[]'::jsonb NOT NULL;