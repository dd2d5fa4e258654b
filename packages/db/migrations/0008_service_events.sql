CREATE TABLE "service_events" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"service_uid" text NOT NULL,
	"at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"first_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"count" integer DEFAULT 1 NOT NULL,
	"kind" text NOT NULL,
	"revision" text NOT NULL,
	"node" text,
	"replica_id" text NOT NULL,
	"reason" text NOT NULL,
	"message" text NOT NULL
);
--> statement-breakpoint
ALTER TABLE "service_events" ADD CONSTRAINT "service_events_service_uid_services_uid_fk" FOREIGN KEY ("service_uid") REFERENCES "public"."services"("uid") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "service_events_service" ON "service_events" USING btree ("service_uid","id");