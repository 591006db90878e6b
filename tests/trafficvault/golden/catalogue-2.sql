CREATE TABLE batches (
	id TEXT NOT NULL, 
	source TEXT NOT NULL, 
	feed TEXT NOT NULL, 
	feed_digest TEXT NOT NULL, 
	received_at TEXT NOT NULL, 
	status TEXT NOT NULL, 
	identity TEXT NOT NULL, 
	counts TEXT NOT NULL, 
	partitions TEXT NOT NULL, 
	first_day TEXT, 
	last_day TEXT, 
	sequence INTEGER, 
	die_class TEXT, 
	die_day TEXT, 
	rejected INTEGER NOT NULL, 
	sealed TEXT NOT NULL, 
	seal TEXT NOT NULL, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID,
 STRICT;

CREATE TABLE certificates (
	id TEXT NOT NULL, 
	record_class TEXT, 
	day TEXT, 
	kind TEXT NOT NULL, 
	body TEXT NOT NULL, 
	signature TEXT NOT NULL, 
	issued_at TEXT NOT NULL, 
	seal TEXT NOT NULL, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID,
 STRICT;

CREATE TABLE disclosures (
	id TEXT NOT NULL, 
	warrant TEXT NOT NULL, 
	question TEXT NOT NULL, 
	person TEXT NOT NULL, 
	started_at TEXT NOT NULL, 
	state TEXT NOT NULL, 
	records INTEGER, 
	complete INTEGER, 
	manifest_digest TEXT, 
	seal TEXT NOT NULL, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID,
 STRICT;

CREATE TABLE files (
	id TEXT NOT NULL, 
	record_class TEXT NOT NULL, 
	day TEXT NOT NULL, 
	batch TEXT, 
	rows INTEGER NOT NULL, 
	bytes INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	row_sum TEXT NOT NULL, 
	reach_from TEXT NOT NULL, 
	reach_to TEXT NOT NULL, 
	columns TEXT NOT NULL, 
	merged INTEGER, 
	blocks TEXT, 
	blocks_bytes INTEGER, 
	created_at TEXT NOT NULL, 
	seal TEXT NOT NULL, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID,
 STRICT;

CREATE TABLE leftovers (
	kind TEXT NOT NULL, 
	record_class TEXT NOT NULL, 
	day TEXT NOT NULL, 
	batch TEXT NOT NULL, 
	bytes INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	rows INTEGER NOT NULL, 
	seal TEXT NOT NULL, 
	PRIMARY KEY (kind, record_class, day, batch)
)
 WITHOUT ROWID,
 STRICT;

CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	seal TEXT NOT NULL, 
	PRIMARY KEY ("key")
)
 WITHOUT ROWID,
 STRICT;

CREATE TABLE outbox (
	seq INTEGER NOT NULL, 
	line TEXT NOT NULL, 
	seal TEXT NOT NULL, 
	PRIMARY KEY (seq)
)
 WITHOUT ROWID,
 STRICT;

CREATE TABLE partitions (
	record_class TEXT NOT NULL, 
	day TEXT NOT NULL, 
	state TEXT NOT NULL, 
	certificate TEXT, 
	seal TEXT NOT NULL, 
	PRIMARY KEY (record_class, day)
)
 WITHOUT ROWID,
 STRICT;

CREATE TABLE people (
	name TEXT NOT NULL, 
	roles TEXT NOT NULL, 
	public_key TEXT NOT NULL, 
	sealed_key TEXT NOT NULL, 
	kdf TEXT NOT NULL, 
	added_by TEXT NOT NULL, 
	added_at TEXT NOT NULL, 
	disabled INTEGER NOT NULL, 
	seal TEXT NOT NULL, 
	PRIMARY KEY (name)
)
 WITHOUT ROWID,
 STRICT;

CREATE TABLE warrants (
	id TEXT NOT NULL, 
	state TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	sealed TEXT NOT NULL, 
	registered_by TEXT NOT NULL, 
	registered_at TEXT NOT NULL, 
	registered_signature TEXT NOT NULL, 
	approved_by TEXT, 
	approved_at TEXT, 
	approved_signature TEXT, 
	seal TEXT NOT NULL, 
	PRIMARY KEY (id)
)
 WITHOUT ROWID,
 STRICT;
