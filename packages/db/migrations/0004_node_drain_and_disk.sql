ALTER TABLE "node_status" ADD COLUMN "disk_total_bytes" bigint;--> statement-breakpoint
ALTER TABLE "node_status" ADD COLUMN "disk_free_bytes" bigint;--> statement-breakpoint
ALTER TABLE "node_status" ADD COLUMN "disk_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "nodes" ADD COLUMN "drain_started_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "nodes" ADD COLUMN "drain_total" integer;