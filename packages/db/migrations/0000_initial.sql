CREATE TABLE "deployment_events" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"deployment_id" text NOT NULL,
	"at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"phase" text NOT NULL,
	"node" text,
	"message" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "deployments" (
	"id" text PRIMARY KEY NOT NULL,
	"project_uid" text NOT NULL,
	"service_uid" text NOT NULL,
	"service_name" text NOT NULL,
	"generation" integer NOT NULL,
	"trigger" text NOT NULL,
	"created_by" text NOT NULL,
	"cancel_requested_at" timestamp (3) with time zone,
	"revision_uid" text,
	"revision_name" text,
	"phase" text DEFAULT 'queued' NOT NULL,
	"reason" text,
	"message" text,
	"started_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"finished_at" timestamp (3) with time zone,
	"epoch" bigint DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE TABLE "host_ports" (
	"node_uid" text NOT NULL,
	"port" integer NOT NULL,
	"replica_id" text,
	"spare_id" text,
	"quarantined_until" timestamp (3) with time zone,
	CONSTRAINT "host_ports_node_uid_port_pk" PRIMARY KEY("node_uid","port")
);
--> statement-breakpoint
CREATE TABLE "idempotency_keys" (
	"project_uid" text NOT NULL,
	"route" text NOT NULL,
	"key" text NOT NULL,
	"body_hash" text NOT NULL,
	"status" integer NOT NULL,
	"headers" jsonb NOT NULL,
	"body" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "idempotency_keys_project_uid_route_key_pk" PRIMARY KEY("project_uid","route","key")
);
--> statement-breakpoint
CREATE TABLE "leader_address" (
	"id" integer PRIMARY KEY DEFAULT 1 NOT NULL,
	"epoch" bigint NOT NULL,
	"hub_socket" text NOT NULL,
	"control_socket" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "leases" (
	"name" text PRIMARY KEY NOT NULL,
	"holder" text,
	"epoch" bigint DEFAULT 0 NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "node_images" (
	"node_uid" text NOT NULL,
	"digest" text NOT NULL,
	"observed_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "node_images_node_uid_digest_pk" PRIMARY KEY("node_uid","digest")
);
--> statement-breakpoint
CREATE TABLE "node_status" (
	"node_uid" text PRIMARY KEY NOT NULL,
	"reachability" text DEFAULT 'down' NOT NULL,
	"message" text,
	"cpu_millis" integer,
	"memory_bytes" bigint,
	"engine_id" text,
	"machine_id" text,
	"engine_version" text,
	"api_version" text,
	"architecture" text,
	"honest_ports" boolean,
	"last_seen_at" timestamp (3) with time zone,
	"epoch" bigint DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE TABLE "nodes" (
	"uid" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"generation" integer DEFAULT 1 NOT NULL,
	"endpoint" text NOT NULL,
	"address" text NOT NULL,
	"pool" text NOT NULL,
	"labels" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"tls" "bytea",
	"scheduling" text DEFAULT 'active' NOT NULL,
	"capacity" jsonb,
	"system_reserved_bytes" bigint,
	"deleted_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "nodes_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "pools" (
	"name" text PRIMARY KEY NOT NULL,
	"strategy" text DEFAULT 'spread' NOT NULL,
	"overcommit_cpu" real DEFAULT 10 NOT NULL,
	"labels" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "project_networks" (
	"node_uid" text NOT NULL,
	"project_uid" text NOT NULL,
	"subnet" text NOT NULL,
	"name" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "project_networks_node_uid_project_uid_pk" PRIMARY KEY("node_uid","project_uid"),
	CONSTRAINT "project_networks_subnet_unique" UNIQUE("subnet")
);
--> statement-breakpoint
CREATE TABLE "projects" (
	"uid" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "projects_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "registries" (
	"project_uid" text NOT NULL,
	"host" text NOT NULL,
	"username" text NOT NULL,
	"password" "bytea" NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "registries_project_uid_host_pk" PRIMARY KEY("project_uid","host")
);
--> statement-breakpoint
CREATE TABLE "replica_containers" (
	"replica_id" text NOT NULL,
	"name" text NOT NULL,
	"container_id" text NOT NULL,
	CONSTRAINT "replica_containers_replica_id_name_pk" PRIMARY KEY("replica_id","name")
);
--> statement-breakpoint
CREATE TABLE "replicas" (
	"id" text PRIMARY KEY NOT NULL,
	"project_uid" text NOT NULL,
	"service_uid" text NOT NULL,
	"revision_uid" text NOT NULL,
	"node_uid" text NOT NULL,
	"deployment_id" text,
	"state" text DEFAULT 'starting' NOT NULL,
	"rung" text DEFAULT 'running' NOT NULL,
	"address" text NOT NULL,
	"host_port" integer NOT NULL,
	"cpu_millis" integer NOT NULL,
	"memory_bytes" bigint NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"started_at" timestamp (3) with time zone,
	"ready_at" timestamp (3) with time zone,
	"draining_at" timestamp (3) with time zone,
	"failed_at" timestamp (3) with time zone,
	"restarts" integer DEFAULT 0 NOT NULL,
	"reason" text,
	"message" text,
	"epoch" bigint DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE TABLE "revisions" (
	"uid" text PRIMARY KEY NOT NULL,
	"service_uid" text NOT NULL,
	"number" integer NOT NULL,
	"name" text NOT NULL,
	"template" jsonb NOT NULL,
	"env" "bytea" NOT NULL,
	"content_hash" text NOT NULL,
	"image_repository" text NOT NULL,
	"image_digest" text NOT NULL,
	"architectures" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"ready_at" timestamp (3) with time zone,
	"failure" jsonb,
	"start_ms" jsonb DEFAULT '{}'::jsonb NOT NULL,
	CONSTRAINT "revisions_service_number" UNIQUE("service_uid","number"),
	CONSTRAINT "revisions_service_name" UNIQUE("service_uid","name")
);
--> statement-breakpoint
CREATE TABLE "routers" (
	"id" text PRIMARY KEY NOT NULL,
	"incarnation" text NOT NULL,
	"admin_port" integer NOT NULL,
	"last_seen_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "service_routes" (
	"service_uid" text PRIMARY KEY NOT NULL,
	"targets" jsonb NOT NULL,
	"epoch" bigint NOT NULL,
	"acknowledged_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "service_status" (
	"service_uid" text PRIMARY KEY NOT NULL,
	"observed_generation" integer DEFAULT 0 NOT NULL,
	"conditions" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"latest_created_revision" text,
	"latest_ready_revision" text,
	"traffic" jsonb DEFAULT '[]'::jsonb NOT NULL,
	"epoch" bigint DEFAULT 0 NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "services" (
	"uid" text PRIMARY KEY NOT NULL,
	"project_uid" text NOT NULL,
	"name" text NOT NULL,
	"generation" integer DEFAULT 1 NOT NULL,
	"template" jsonb NOT NULL,
	"env" "bytea" NOT NULL,
	"min_scale" integer NOT NULL,
	"max_scale" integer NOT NULL,
	"idle" jsonb NOT NULL,
	"traffic" jsonb NOT NULL,
	"pinned_revision" text,
	"rollout" jsonb NOT NULL,
	"labels" jsonb NOT NULL,
	"annotations" jsonb NOT NULL,
	"created_by" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"updated_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"deleted_at" timestamp (3) with time zone,
	CONSTRAINT "services_project_name" UNIQUE("project_uid","name")
);
--> statement-breakpoint
CREATE TABLE "spare_sandboxes" (
	"id" text PRIMARY KEY NOT NULL,
	"node_uid" text NOT NULL,
	"project_uid" text NOT NULL,
	"container_port" integer NOT NULL,
	"host_port" integer NOT NULL,
	"container_id" text,
	"ready_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"epoch" bigint DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE TABLE "tokens" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"scope" text NOT NULL,
	"project_uid" text NOT NULL,
	"hash" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (3) with time zone,
	"revoked_at" timestamp (3) with time zone,
	"last_used_at" timestamp (3) with time zone,
	CONSTRAINT "tokens_hash_unique" UNIQUE("hash")
);
--> statement-breakpoint
ALTER TABLE "deployment_events" ADD CONSTRAINT "deployment_events_deployment_id_deployments_id_fk" FOREIGN KEY ("deployment_id") REFERENCES "public"."deployments"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "deployments" ADD CONSTRAINT "deployments_service_uid_services_uid_fk" FOREIGN KEY ("service_uid") REFERENCES "public"."services"("uid") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "host_ports" ADD CONSTRAINT "host_ports_node_uid_nodes_uid_fk" FOREIGN KEY ("node_uid") REFERENCES "public"."nodes"("uid") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "node_images" ADD CONSTRAINT "node_images_node_uid_nodes_uid_fk" FOREIGN KEY ("node_uid") REFERENCES "public"."nodes"("uid") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "node_status" ADD CONSTRAINT "node_status_node_uid_nodes_uid_fk" FOREIGN KEY ("node_uid") REFERENCES "public"."nodes"("uid") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "nodes" ADD CONSTRAINT "nodes_pool_pools_name_fk" FOREIGN KEY ("pool") REFERENCES "public"."pools"("name") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "project_networks" ADD CONSTRAINT "project_networks_node_uid_nodes_uid_fk" FOREIGN KEY ("node_uid") REFERENCES "public"."nodes"("uid") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "registries" ADD CONSTRAINT "registries_project_uid_projects_uid_fk" FOREIGN KEY ("project_uid") REFERENCES "public"."projects"("uid") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "replica_containers" ADD CONSTRAINT "replica_containers_replica_id_replicas_id_fk" FOREIGN KEY ("replica_id") REFERENCES "public"."replicas"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "revisions" ADD CONSTRAINT "revisions_service_uid_services_uid_fk" FOREIGN KEY ("service_uid") REFERENCES "public"."services"("uid") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "service_routes" ADD CONSTRAINT "service_routes_service_uid_services_uid_fk" FOREIGN KEY ("service_uid") REFERENCES "public"."services"("uid") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "service_status" ADD CONSTRAINT "service_status_service_uid_services_uid_fk" FOREIGN KEY ("service_uid") REFERENCES "public"."services"("uid") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "services" ADD CONSTRAINT "services_project_uid_projects_uid_fk" FOREIGN KEY ("project_uid") REFERENCES "public"."projects"("uid") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "spare_sandboxes" ADD CONSTRAINT "spare_sandboxes_node_uid_nodes_uid_fk" FOREIGN KEY ("node_uid") REFERENCES "public"."nodes"("uid") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "tokens" ADD CONSTRAINT "tokens_project_uid_projects_uid_fk" FOREIGN KEY ("project_uid") REFERENCES "public"."projects"("uid") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "deployment_events_deployment" ON "deployment_events" USING btree ("deployment_id","id");--> statement-breakpoint
CREATE INDEX "deployments_service" ON "deployments" USING btree ("service_uid","started_at");--> statement-breakpoint
CREATE INDEX "deployments_open" ON "deployments" USING btree ("service_uid") WHERE finished_at is null;--> statement-breakpoint
CREATE UNIQUE INDEX "node_images_digest" ON "node_images" USING btree ("digest","node_uid");--> statement-breakpoint
CREATE INDEX "replicas_service" ON "replicas" USING btree ("service_uid");--> statement-breakpoint
CREATE INDEX "replicas_node" ON "replicas" USING btree ("node_uid");--> statement-breakpoint
CREATE INDEX "replicas_revision" ON "replicas" USING btree ("revision_uid");--> statement-breakpoint
CREATE INDEX "services_deleted" ON "services" USING btree ("deleted_at") WHERE deleted_at is not null;--> statement-breakpoint
CREATE INDEX "spare_sandboxes_key" ON "spare_sandboxes" USING btree ("node_uid","project_uid","container_port");