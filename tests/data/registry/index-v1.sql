-- The index as its version 1 made it, with a little of everything in it: what migrations start from. Never edited.
CREATE TABLE repository(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,  created_s INTEGER NOT NULL) STRICT;
CREATE TABLE blob(digest TEXT NOT NULL PRIMARY KEY, size INTEGER NOT NULL,  stored_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE link(repository INTEGER NOT NULL REFERENCES repository(id),  digest TEXT NOT NULL REFERENCES blob(digest), PRIMARY KEY(repository, digest))  STRICT, WITHOUT ROWID;
CREATE INDEX link_digest ON link(digest);
CREATE TABLE manifest(repository INTEGER NOT NULL REFERENCES repository(id),  digest TEXT NOT NULL REFERENCES blob(digest), media_type TEXT NOT NULL,  size INTEGER NOT NULL, subject TEXT, artifact_type TEXT NOT NULL, annotations TEXT,  pushed_s INTEGER NOT NULL, PRIMARY KEY(repository, digest)) STRICT, WITHOUT ROWID;
CREATE INDEX manifest_digest ON manifest(digest);
CREATE INDEX manifest_subject ON manifest(repository, subject) WHERE subject IS NOT NULL;
CREATE TABLE reference(repository INTEGER NOT NULL, parent TEXT NOT NULL,  child TEXT NOT NULL, PRIMARY KEY(repository, parent, child),  FOREIGN KEY(repository, parent) REFERENCES manifest(repository, digest)  ON DELETE CASCADE) STRICT, WITHOUT ROWID;
CREATE INDEX reference_child ON reference(repository, child);
CREATE TABLE tag(repository INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,  updated_s INTEGER NOT NULL, PRIMARY KEY(repository, name),  FOREIGN KEY(repository, digest) REFERENCES manifest(repository, digest)  ON DELETE CASCADE) STRICT, WITHOUT ROWID;
CREATE INDEX tag_digest ON tag(repository, digest);
CREATE TABLE trust_file(repository INTEGER NOT NULL REFERENCES repository(id),  role TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL,  current INTEGER NOT NULL, PRIMARY KEY(repository, role, version)) STRICT;
CREATE UNIQUE INDEX trust_current ON trust_file(repository, role) WHERE current = 1;
CREATE TABLE trust_target(repository INTEGER NOT NULL REFERENCES repository(id),  role TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,  PRIMARY KEY(repository, name, digest, role))  STRICT, WITHOUT ROWID;
CREATE INDEX trust_target_digest ON trust_target(repository, digest);
CREATE TABLE trust_timestamp(repository INTEGER NOT NULL PRIMARY KEY  REFERENCES repository(id), issued_s INTEGER NOT NULL, expires_s INTEGER NOT NULL) STRICT;
CREATE INDEX trust_expiry ON trust_timestamp(expires_s);
CREATE TABLE user(name TEXT NOT NULL PRIMARY KEY, password TEXT NOT NULL,  created_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE rights(subject TEXT NOT NULL, pattern TEXT NOT NULL,  actions INTEGER NOT NULL, PRIMARY KEY(subject, pattern)) STRICT, WITHOUT ROWID;

INSERT INTO repository VALUES(1, 'acme/app', 1700000000), (2, 'acme/other', 1700000001);
INSERT INTO blob VALUES
 ('sha256:9d99a75171aea000c711b34c0e5e3f28d3d537dd99d110eafbfbc2bd8e52c2bf', 37, 1700000002),
 ('sha256:690da305259a51c3e4d91791ef341cbd6ed5d2e324e3aad197ed260883ef87ae', 20, 1700000003),
 ('sha256:34ef5004aee40707173da6da5946fb5b2e42fa83db4358f841cc91e60ffa5389', 400, 1700000004);
INSERT INTO link VALUES
 (1, 'sha256:9d99a75171aea000c711b34c0e5e3f28d3d537dd99d110eafbfbc2bd8e52c2bf'),
 (1, 'sha256:690da305259a51c3e4d91791ef341cbd6ed5d2e324e3aad197ed260883ef87ae');
INSERT INTO manifest VALUES
 (1, 'sha256:34ef5004aee40707173da6da5946fb5b2e42fa83db4358f841cc91e60ffa5389',
  'application/vnd.oci.image.manifest.v1+json', 400, NULL, '', NULL, 1700000005);
INSERT INTO reference VALUES
 (1, 'sha256:34ef5004aee40707173da6da5946fb5b2e42fa83db4358f841cc91e60ffa5389',
  'sha256:9d99a75171aea000c711b34c0e5e3f28d3d537dd99d110eafbfbc2bd8e52c2bf'),
 (1, 'sha256:34ef5004aee40707173da6da5946fb5b2e42fa83db4358f841cc91e60ffa5389',
  'sha256:690da305259a51c3e4d91791ef341cbd6ed5d2e324e3aad197ed260883ef87ae');
INSERT INTO tag VALUES
 (1, 'v1', 'sha256:34ef5004aee40707173da6da5946fb5b2e42fa83db4358f841cc91e60ffa5389', 1700000006);
INSERT INTO trust_file VALUES
 (1, 'root', 1, CAST('{"signatures":[],"signed":{"_type":"root","expires":"2030-01-01T00:00:00Z","version":1}}' AS BLOB), 1),
 (1, 'targets', 1, CAST('not json' AS BLOB), 1);
INSERT INTO trust_target VALUES
 (1, 'targets', 'v1', 'sha256:34ef5004aee40707173da6da5946fb5b2e42fa83db4358f841cc91e60ffa5389');
INSERT INTO trust_timestamp VALUES(1, 1700000007, 1700086407);
INSERT INTO user VALUES('alice', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAA', 1700000008);
INSERT INTO rights VALUES('alice', 'acme/*', 3), ('anonymous', 'acme/app', 1);
PRAGMA application_id = 1114991730;
PRAGMA user_version = 1;
