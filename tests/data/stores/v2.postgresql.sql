CREATE TABLE public.journals (
    run_id character varying(64) NOT NULL,
    document text NOT NULL
);
CREATE TABLE public.measurements (
    run_id character varying(64) NOT NULL,
    "position" integer NOT NULL,
    variant text NOT NULL,
    device text NOT NULL,
    profile text NOT NULL,
    status character varying(16) NOT NULL,
    runtime text,
    runtime_version text,
    accelerator text NOT NULL,
    threads integer NOT NULL,
    p50_ns bigint,
    quality_metric text,
    quality_value double precision,
    document text NOT NULL,
    samples bytea NOT NULL
);
CREATE TABLE public.packages (
    digest character varying(64) NOT NULL,
    source_name text NOT NULL,
    document text NOT NULL
);
CREATE TABLE public.runs (
    run_id character varying(64) NOT NULL,
    started_at character varying(40) NOT NULL,
    package_digest character varying(64) NOT NULL,
    package_path text,
    git_commit character varying(64),
    note text NOT NULL
);
CREATE TABLE public.schema_version (
    version integer NOT NULL
);
CREATE SEQUENCE public.schema_version_version_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.schema_version_version_seq OWNED BY public.schema_version.version;
CREATE TABLE public.tags (
    run_id character varying(64) NOT NULL,
    name character varying(100) NOT NULL
);
CREATE TABLE public.transfers (
    run_id character varying(64) NOT NULL,
    "position" integer NOT NULL,
    device text NOT NULL,
    document text NOT NULL
);
ALTER TABLE ONLY public.schema_version ALTER COLUMN version SET DEFAULT nextval('public.schema_version_version_seq'::regclass);
INSERT INTO public.journals VALUES ('20261122T150405-ab12cd', '{"plan": 2}');
INSERT INTO public.measurements VALUES ('20261122T150405-ab12cd', 0, 'float', 'local', 'desktop', 'ok', 'ai-edge-litert', '2.3.0', 'cpu', 1, 166948, 'top1', 0.9075, '{"variant":"float","device":"local","profile":"desktop","status":"ok","failure":null,"runtime":{"name":"ai-edge-litert","version":"2.3.0"},"accelerator":{"requested":"cpu","actual":"cpu","ops_total":null,"ops_delegated":null},"threads":1,"rounds":[],"load_ns":2100000,"first_ns":400000,"peak_rss_bytes":48000000,"quality":{"metric":"top1","value":0.9075,"n":8,"ci95":[0.89400918458776,0.9194284218780187],"extra":{"top5":0.99},"correct":"ff"},"parity":{"samples":64,"top1_agreement":0.98,"max_abs_diff":0.021,"snr_db":31.0},"environment":{"cpu":{"model":"Cortex-A72","cores":4},"governor":"performance","temperature_c":47.2,"kernel":"6.12.0","python":"3.11.2"},"flags":[],"seed":0,"inputs_sha256":"32381523e63197c929b67f793a8098bed0ae3a6fa902634fdbcc6fa4567f3346"}', '\x789c636660606045c23bfa981840a0a40b42c7ae80d03d3321f4ab0510fa731d843ed901a10de741e88e4e08fd641a84f66f83d042dd105aa50742afd903a1f5a0fa0159d31085');
INSERT INTO public.measurements VALUES ('20261122T150405-ab12cd', 1, 'int8', 'local', 'desktop', 'ok', 'ai-edge-litert', '2.3.0', 'cpu', 1, 59978, 'top1', 0.906, '{"variant":"int8","device":"local","profile":"desktop","status":"ok","failure":null,"runtime":{"name":"ai-edge-litert","version":"2.3.0"},"accelerator":{"requested":"cpu","actual":"cpu","ops_total":null,"ops_delegated":null},"threads":1,"rounds":[],"load_ns":2100000,"first_ns":400000,"peak_rss_bytes":48000000,"quality":{"metric":"top1","value":0.906,"n":8,"ci95":[0.8924205382864566,0.918022819321166],"extra":{"top5":0.99},"correct":"ff"},"parity":{"samples":64,"top1_agreement":0.98,"max_abs_diff":0.021,"snr_db":31.0},"environment":{"cpu":{"model":"Cortex-A72","cores":4},"governor":"performance","temperature_c":47.2,"kernel":"6.12.0","python":"3.11.2"},"flags":[],"seed":0,"inputs_sha256":"32381523e63197c929b67f793a8098bed0ae3a6fa902634fdbcc6fa4567f3346"}', '\x789c636660606045c23f5e328041d76b087dff3994ff13424fff08a19b9e41e88b50f57c507573de4168d3f710fa3f54dd4b28fd0d6aaed72b08edf415420300d7cd16ff');
INSERT INTO public.packages VALUES ('bc4a71180870f7945155fbb02f4b0a2e3faa2a62d6d31b7039013055ed19869a', 'fashion.keras', '{"digest":"bc4a71180870f7945155fbb02f4b0a2e3faa2a62d6d31b7039013055ed19869a","source_name":"fashion.keras","source_sha256":"41cf6794ba4200b839c53531555f0f3998df4cbb01a4d5cb0b94e3ca5e23947d","variants":[{"name":"float","recipe":{"name":"float","passes":[],"seed":0},"sha256":"76a7e234dc54e9c605b2cc9fdf71279526150df48c574bdfa69e436e0b3d5c18","bytes":381204,"gzip_bytes":304963,"signature":{"inputs":[{"name":"image","shape":[null,28,28,1],"dtype":"float32","scale":null,"zero_point":null}],"outputs":[{"name":"class","shape":[null,10],"dtype":"float32","scale":null,"zero_point":null}]},"params":93322,"macs":3211264,"sparsity":0.0,"agreement":null,"lineage":[],"warnings":[]},{"name":"int8","recipe":{"name":"int8","passes":[{"name":"quantize.int8","params":{}}],"seed":0},"sha256":"cb1525bced78da2c03c42fe15bf15663b584566ef6244ff91d892caa011fec1e","bytes":104352,"gzip_bytes":83481,"signature":{"inputs":[{"name":"image","shape":[null,28,28,1],"dtype":"float32","scale":null,"zero_point":null}],"outputs":[{"name":"class","shape":[null,10],"dtype":"float32","scale":null,"zero_point":null}]},"params":93322,"macs":3211264,"sparsity":0.0,"agreement":null,"lineage":[],"warnings":[]}],"data":{"sha256":"3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7","bytes":1600000,"samples":2000,"task":"classification","transforms":{},"source":"dataset"},"tools":{"tensorflow":"2.21.0","keras":"3.15.0"}}');
INSERT INTO public.runs VALUES ('20261122T150405-ab12cd', '2026-11-22T15:04:05+00:00', 'bc4a71180870f7945155fbb02f4b0a2e3faa2a62d6d31b7039013055ed19869a', 'fashion.pack', '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', 'of version 2');
INSERT INTO public.schema_version VALUES (2);
INSERT INTO public.tags VALUES ('20261122T150405-ab12cd', 'golden');
INSERT INTO public.transfers VALUES ('20261122T150405-ab12cd', 0, 'local', '{"device":"local","connections":1,"execs":1,"sent_bytes":1912000,"received_bytes":241000,"blob_bytes":1730000,"agent_bytes":61000,"seconds":21.4}');
ALTER TABLE ONLY public.journals
    ADD CONSTRAINT journals_pkey PRIMARY KEY (run_id);
ALTER TABLE ONLY public.measurements
    ADD CONSTRAINT measurements_pkey PRIMARY KEY (run_id, "position");
ALTER TABLE ONLY public.packages
    ADD CONSTRAINT packages_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (run_id);
ALTER TABLE ONLY public.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.tags
    ADD CONSTRAINT tags_pkey PRIMARY KEY (run_id, name);
ALTER TABLE ONLY public.transfers
    ADD CONSTRAINT transfers_pkey PRIMARY KEY (run_id, "position");
CREATE INDEX ix_measurements_device_variant ON public.measurements USING btree (device, variant);
CREATE INDEX ix_runs_git_commit ON public.runs USING btree (git_commit);
CREATE INDEX ix_runs_package_digest ON public.runs USING btree (package_digest);
CREATE INDEX ix_tags_name ON public.tags USING btree (name);
ALTER TABLE ONLY public.journals
    ADD CONSTRAINT journals_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.runs(run_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.measurements
    ADD CONSTRAINT measurements_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.runs(run_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_package_digest_fkey FOREIGN KEY (package_digest) REFERENCES public.packages(digest);
ALTER TABLE ONLY public.tags
    ADD CONSTRAINT tags_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.runs(run_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.transfers
    ADD CONSTRAINT transfers_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.runs(run_id) ON DELETE CASCADE;
