CREATE TABLE "volumes" (
	"uid" text PRIMARY KEY NOT NULL,
	"project_uid" text NOT NULL,
	"service_uid" text,
	"name" text NOT NULL,
	"node_uid" text,
	"made_at" timestamp (3) with time zone,
	"restoring_until" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp (3) with time zone,
	CONSTRAINT "volumes_project_name" UNIQUE("project_uid","name")
);
--> statement-breakpoint
ALTER TABLE "volumes" ADD CONSTRAINT "volumes_project_uid_projects_uid_fk" FOREIGN KEY ("project_uid") REFERENCES "public"."projects"("uid") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "volumes" ADD CONSTRAINT "volumes_service_uid_services_uid_fk" FOREIGN KEY ("service_uid") REFERENCES "public"."services"("uid") ON DELETE set null ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "volumes_service" ON "volumes" USING btree ("service_uid");