BEGIN TRANSACTION;
CREATE TABLE measurements (
	run_id VARCHAR(64) NOT NULL, 
	position INTEGER NOT NULL, 
	variant TEXT NOT NULL, 
	device TEXT NOT NULL, 
	profile TEXT NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	runtime TEXT, 
	runtime_version TEXT, 
	accelerator TEXT NOT NULL, 
	threads INTEGER NOT NULL, 
	p50_ns BIGINT, 
	quality_metric TEXT, 
	quality_value FLOAT, 
	document TEXT NOT NULL, 
	samples BLOB NOT NULL, 
	PRIMARY KEY (run_id, position), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "measurements" VALUES('20261122T150405-ab12cd',0,'float','local','desktop','ok','ai-edge-litert','2.3.0','cpu',1,166948,'top1',0.9075,'{"variant":"float","device":"local","profile":"desktop","status":"ok","failure":null,"runtime":{"name":"ai-edge-litert","version":"2.3.0"},"accelerator":{"requested":"cpu","actual":"cpu","ops_total":null,"ops_delegated":null},"threads":1,"rounds":[],"load_ns":2100000,"first_ns":400000,"peak_rss_bytes":48000000,"quality":{"metric":"top1","value":0.9075,"n":8,"ci95":[0.89400918458776,0.9194284218780187],"extra":{"top5":0.99},"correct":"ff"},"parity":{"samples":64,"top1_agreement":0.98,"max_abs_diff":0.021,"snr_db":31.0},"environment":{"cpu":{"model":"Cortex-A72","cores":4},"governor":"performance","temperature_c":47.2,"kernel":"6.12.0","python":"3.11.2"},"flags":[],"seed":0,"inputs_sha256":"32381523e63197c929b67f793a8098bed0ae3a6fa902634fdbcc6fa4567f3346"}',X'789C636660606045C23BFA981840A0A40B42C7AE80D03D3321F4AB0510FA731D843ED901A10DE741E88E4E08FD641A84F66F83D042DD105AA50742AFD903A1F5A0FA0159D31085');
INSERT INTO "measurements" VALUES('20261122T150405-ab12cd',1,'int8','local','desktop','ok','ai-edge-litert','2.3.0','cpu',1,59978,'top1',0.906,'{"variant":"int8","device":"local","profile":"desktop","status":"ok","failure":null,"runtime":{"name":"ai-edge-litert","version":"2.3.0"},"accelerator":{"requested":"cpu","actual":"cpu","ops_total":null,"ops_delegated":null},"threads":1,"rounds":[],"load_ns":2100000,"first_ns":400000,"peak_rss_bytes":48000000,"quality":{"metric":"top1","value":0.906,"n":8,"ci95":[0.8924205382864566,0.918022819321166],"extra":{"top5":0.99},"correct":"ff"},"parity":{"samples":64,"top1_agreement":0.98,"max_abs_diff":0.021,"snr_db":31.0},"environment":{"cpu":{"model":"Cortex-A72","cores":4},"governor":"performance","temperature_c":47.2,"kernel":"6.12.0","python":"3.11.2"},"flags":[],"seed":0,"inputs_sha256":"32381523e63197c929b67f793a8098bed0ae3a6fa902634fdbcc6fa4567f3346"}',X'789C636660606045C23F5E328041D76B087DFF3994FF13424FFF08A19B9E41E88B50F57C507573DE4168D3F710FA3F54DD4B28FD0D6AAED72B08EDF415420300D7CD16FF');
CREATE TABLE packages (
	digest VARCHAR(64) NOT NULL, 
	source_name TEXT NOT NULL, 
	document TEXT NOT NULL, 
	PRIMARY KEY (digest)
);
INSERT INTO "packages" VALUES('bc4a71180870f7945155fbb02f4b0a2e3faa2a62d6d31b7039013055ed19869a','fashion.keras','{"digest":"bc4a71180870f7945155fbb02f4b0a2e3faa2a62d6d31b7039013055ed19869a","source_name":"fashion.keras","source_sha256":"41cf6794ba4200b839c53531555f0f3998df4cbb01a4d5cb0b94e3ca5e23947d","variants":[{"name":"float","recipe":{"name":"float","passes":[],"seed":0},"sha256":"76a7e234dc54e9c605b2cc9fdf71279526150df48c574bdfa69e436e0b3d5c18","bytes":381204,"gzip_bytes":304963,"signature":{"inputs":[{"name":"image","shape":[null,28,28,1],"dtype":"float32","scale":null,"zero_point":null}],"outputs":[{"name":"class","shape":[null,10],"dtype":"float32","scale":null,"zero_point":null}]},"params":93322,"macs":3211264,"sparsity":0.0,"agreement":null,"lineage":[],"warnings":[]},{"name":"int8","recipe":{"name":"int8","passes":[{"name":"quantize.int8","params":{}}],"seed":0},"sha256":"cb1525bced78da2c03c42fe15bf15663b584566ef6244ff91d892caa011fec1e","bytes":104352,"gzip_bytes":83481,"signature":{"inputs":[{"name":"image","shape":[null,28,28,1],"dtype":"float32","scale":null,"zero_point":null}],"outputs":[{"name":"class","shape":[null,10],"dtype":"float32","scale":null,"zero_point":null}]},"params":93322,"macs":3211264,"sparsity":0.0,"agreement":null,"lineage":[],"warnings":[]}],"data":{"sha256":"3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7","bytes":1600000,"samples":2000,"task":"classification","transforms":{},"source":"dataset"},"tools":{"tensorflow":"2.21.0","keras":"3.15.0"}}');
CREATE TABLE runs (
	run_id VARCHAR(64) NOT NULL, 
	started_at VARCHAR(40) NOT NULL, 
	package_digest VARCHAR(64) NOT NULL, 
	package_path TEXT, 
	git_commit VARCHAR(64), 
	note TEXT NOT NULL, 
	PRIMARY KEY (run_id), 
	FOREIGN KEY(package_digest) REFERENCES packages (digest)
);
INSERT INTO "runs" VALUES('20261122T150405-ab12cd','2026-11-22T15:04:05+00:00','bc4a71180870f7945155fbb02f4b0a2e3faa2a62d6d31b7039013055ed19869a','fashion.pack','0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f','of version 1');
CREATE TABLE schema_version (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_version" VALUES(1);
CREATE TABLE tags (
	run_id VARCHAR(64) NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	PRIMARY KEY (run_id, name), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "tags" VALUES('20261122T150405-ab12cd','golden');
CREATE TABLE transfers (
	run_id VARCHAR(64) NOT NULL, 
	position INTEGER NOT NULL, 
	device TEXT NOT NULL, 
	document TEXT NOT NULL, 
	PRIMARY KEY (run_id, position), 
	FOREIGN KEY(run_id) REFERENCES runs (run_id) ON DELETE CASCADE
);
INSERT INTO "transfers" VALUES('20261122T150405-ab12cd',0,'local','{"device":"local","connections":1,"execs":1,"sent_bytes":1912000,"received_bytes":241000,"blob_bytes":1730000,"agent_bytes":61000,"seconds":21.4}');
CREATE INDEX ix_runs_package_digest ON runs (package_digest);
CREATE INDEX ix_runs_git_commit ON runs (git_commit);
CREATE INDEX ix_tags_name ON tags (name);
CREATE INDEX ix_measurements_device_variant ON measurements (device, variant);
COMMIT;
