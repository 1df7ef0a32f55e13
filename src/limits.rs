//! Every bound of the program, with its unit and its reason. What an operator would want to change has a key in
//! `config/default.toml`; the constant here is then its default or its ceiling. The assertions at the end hold the
//! bounds against each other.

use std::time::Duration;

/// Events per request. The contract's own bound is 100; reporters may be configured above it.
pub const EVENTS_PER_BATCH_MAX: usize = 1_000;
/// Bytes of an event request's body, after decompression.
pub const EVENT_BODY_BYTES_MAX: usize = 16 << 20;
/// Bytes of a setup or teardown body.
pub const LIFECYCLE_BODY_BYTES_MAX: usize = 256 << 10;
/// Bytes of any other JSON body.
pub const JSON_BODY_BYTES_MAX: usize = 1 << 20;

/// Bytes of a log chunk that are kept whole; beyond it the chunk is cut and marked. The client's own bound of
/// 8192 is not a bound here: a longer chunk is kept, see the validation policy.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Characters of a test id before it is replaced by its head and a hash.
pub const TEST_ID_CHARS_MAX: usize = 500;
/// Characters of a title.
pub const TITLE_CHARS_MAX: usize = 1_000;
/// Characters of a file name.
pub const FILE_CHARS_MAX: usize = 500;
/// Characters of an error text and of a page snapshot.
pub const LONG_TEXT_CHARS_MAX: usize = 8_192;

/// Characters of a page snapshot that is kept as it was sent: the client's own cut and its mark.
pub const DOM_SNAPSHOT_AS_SENT_CHARS_MAX: usize = 8_206;
/// Characters of a page's title.
pub const PAGE_TITLE_CHARS_MAX: usize = 256;
/// Characters of one console error.
pub const CONSOLE_ERROR_CHARS_MAX: usize = 500;
/// Characters of an address that a failing test reports.
pub const ADDRESS_CHARS_MAX: usize = 2_048;
/// Characters of a short label: a method, a tag, a suite, a worker.
pub const LABEL_CHARS_MAX: usize = 200;
/// Entries of a list that comes with a test.
pub const LIST_ENTRIES_MAX: usize = 20;
/// Nesting of a JSON body.
pub const JSON_DEPTH_MAX: usize = 128;
/// Values in a JSON body, about: a thousand failing tests with everything a reporter tells of them have half of it.
pub const JSON_VALUES_MAX: usize = 1_000_000;
/// Findings named in one answer; further ones are left out.
pub const FINDINGS_MAX: usize = 20;

/// Characters of a run's name.
pub const RUN_NAME_CHARS_MAX: usize = 200;
/// Characters of a run's group.
pub const GROUP_NAME_CHARS_MAX: usize = 128;
/// Characters of a reporter's version.
pub const REPORTER_VERSION_CHARS_MAX: usize = 50;
/// Tests a run may announce.
pub const TOTAL_TESTS_MAX: u32 = 100_000;
/// Characters of a repository's name or address.
pub const REPOSITORY_CHARS_MAX: usize = 300;
/// Characters of a branch name.
pub const BRANCH_CHARS_MAX: usize = 255;
/// Characters of a commit id.
pub const COMMIT_CHARS_MAX: usize = 64;
/// Characters of a CI run's address.
pub const RUN_URL_CHARS_MAX: usize = 500;

/// Bytes of log text kept per run.
pub const LOG_KEPT_BYTES_MAX: u64 = 10 << 20;
/// Of these, bytes kept from the start; the rest is kept from the end.
pub const LOG_HEAD_BYTES: u64 = 1 << 20;
/// Bytes kept from the end of a longer log.
pub const LOG_TAIL_BYTES: u64 = LOG_KEPT_BYTES_MAX - LOG_HEAD_BYTES;
/// What stands where the middle of a long log was.
pub const LOG_TRUNCATED_LINE: &str = "[LOG TRUNCATED]\n";
/// Results recorded per run; further ones are counted only.
pub const RESULTS_MAX: u64 = 200_000;

/// A session without an accepted request for this long is over.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// A finished session is remembered this long, so that a repeated teardown gets its answer.
pub const SESSION_ARCHIVE: Duration = Duration::from_secs(7 * 24 * 3600);
/// After teardown events are still accepted this long: the reporter may have a batch in its retry pause.
pub const LATE_EVENTS: Duration = Duration::from_secs(15);
/// How often expired sessions are looked for. The contract asks for ten minutes at most.
pub const ORPHAN_SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Identical bytes within this time are two batches (a tight print loop).
pub const REPLAY_MIN: Duration = Duration::from_millis(900);
/// Identical bytes after this time are two batches.
pub const REPLAY_MAX: Duration = Duration::from_secs(30);
/// Gaps in client batch numbers that are remembered per session, over all writers.
pub const BATCH_NUMBER_RANGES_MAX: usize = 4_096;

/// The public reporter gives up after this long; every wait on the ingest path is well below it.
pub const REPORTER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request waits for room in the byte budget before it is refused with 503.
pub const BUDGET_WAIT: Duration = Duration::from_secs(4);
/// How long a request waits for its batch to become durable before it is refused with 503.
pub const APPEND_WAIT: Duration = Duration::from_secs(8);
/// Bytes of request bodies and parsed batches held at the same time.
pub const INGEST_BUDGET_BYTES: usize = 64 << 20;
/// What a request counts in the budget besides its body: headers, buffers, messages.
pub const REQUEST_OVERHEAD_BYTES: usize = 4 << 10;
/// By how much the share of a body of unknown length grows at a time.
pub const BUDGET_STEP_BYTES: usize = 64 << 10;
/// Organizations whose part of the budget is remembered although they hold nothing of it.
pub const BUDGET_ORGANIZATIONS_KEPT: usize = 1_024;
/// Frames of a body from this many bytes on are kept as they came; smaller ones are gathered.
pub const FRAME_KEPT_BYTES_MIN: usize = 4 << 10;
/// Bodies from this many bytes on, and all compressed ones, are read by few requests at a time and away from the
/// threads that serve connections: reading takes several times their size for a moment.
pub const HEAVY_BODY_BYTES_MIN: usize = 512 << 10;
/// How many of those are read at a time.
pub const HEAVY_BODIES_PARALLEL: usize = 2;
/// Bytes that a zstd frame may want to look back on.
pub const ZSTD_WINDOW_BYTES_MAX: u64 = 16 << 20;
/// Bytes at the front of a refused request's body in which its session is looked for.
pub const GLANCE_BYTES_MAX: usize = 4 << 10;

/// An execution actor without a message for this long leaves memory when it is asked next.
pub const ACTOR_IDLE: Duration = Duration::from_secs(15);
/// The same where the store is a cluster: one that comes back reads its run there, which costs as much as a batch.
pub const ACTOR_IDLE_ON_CLUSTER: Duration = Duration::from_secs(30);
/// Idle runs are asked to leave in so many shares, one at each [`HOUSEKEEPING_INTERVAL`]: on the embedded store
/// all have left within half a minute.
pub const IDLE_SHARES: u8 = 10;
/// From when text is durable until it has been handed to the viewers' sockets: meanwhile more is gathered, for one frame
/// per run.
pub const FEED_TICK: Duration = Duration::from_millis(30);
/// How late a timer usually goes off at most: the runtime and the system's wait both count whole milliseconds, and
/// round up.
pub const TIMER_LATENESS: Duration = Duration::from_millis(2);
/// Bytes of log text in one live frame; longer text goes out in several.
pub const FRAME_TEXT_BYTES_MAX: usize = 64 << 10;

/// Client addresses counted at the same time, over all tiers.
pub const IP_BUCKETS_MAX: usize = 65_536;
/// How often idle actors, spent buckets and due runs are looked after.
pub const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of batches merged into one segment; one larger batch is a segment of its own.
pub const SEGMENT_BYTES_MAX: usize = 8 << 20;
/// Bytes of `tests` that ride along with the final `execution-updated`.
pub const UPDATE_TESTS_BYTES_MAX: usize = 256 << 10;
/// Results up to which they are read for that update at all; more would not fit.
pub const UPDATE_RESULTS_MAX: u64 = 3_000;
/// Results read at a time when all of a run's are needed.
pub const RESULTS_PAGE: usize = 1_000;
/// Bytes of segments read at a time when a run is loaded.
pub const LOAD_PAGE_BYTES: usize = 1 << 20;
/// The ownership epoch of a store that only one process can open.
pub const EPOCH: u32 = 1;
/// How often a request is handed to a run whose actor dies over it.
pub const DELIVERY_TRIES: u32 = 12;
/// Grows with each try after the second.
pub const DELIVERY_PAUSE: Duration = Duration::from_millis(20);
/// Runs folded at the same time.
pub const SETTLE_CONCURRENCY: usize = 2;
/// After this long a run that could not be folded is tried again.
pub const SETTLE_RETRY: Duration = Duration::from_secs(60);
/// Bytes of text that may wait for the next tick of an organization's feed; more goes out at once.
pub const FEED_PENDING_BYTES_MAX: usize = 4 << 20;
/// Bytes of text held for a tick that cannot come because something before is not decided; what comes then is read from
/// the store.
pub const FEED_HELD_BYTES_MAX: usize = 2 * FEED_PENDING_BYTES_MAX;
/// Rows of an organization's feed that are kept in memory, some 100 bytes each: minutes of a busy organization.
pub const FEED_RECENT_ROWS_MAX: usize = 16 << 10;
/// Rows of the feed read at a time.
pub const FEED_PAGE_ROWS: usize = 1_024;
/// Bytes of text in a window made for a viewer that is behind, unless one row has more.
pub const FEED_WINDOW_BYTES: u64 = 64 << 10;
/// Bytes of text in any window: a tick's, and one larger row.
pub const FEED_WINDOW_BYTES_MAX: u64 = 32 << 20;
/// How long a position in the feed can be continued.
pub const FEED_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the feed waits before it asks again what became of a number.
pub const FEED_LOOK_UP_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of text that a viewer may have missed and be sent; beyond it a dashboard has to load its runs anew.
pub const LIVE_REPLAY_BYTES_MAX: u64 = 64 << 20;
/// Rows of the feed that it may have missed.
pub const LIVE_REPLAY_ROWS_MAX: usize = 256 << 10;

/// Engine.IO heartbeat of live viewers.
pub const LIVE_PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long a live viewer may take to answer a heartbeat.
pub const LIVE_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of a polling answer and of anything a live viewer may send; announced as `maxPayload`.
pub const LIVE_PAYLOAD_BYTES_MAX: u32 = 1_000_000;
/// Packets that wait for one viewer in the library: heartbeats, answers and bells, never text.
pub const LIVE_QUEUE_PACKETS: usize = 16;
/// Log text that is fetched at a time for a viewer that is behind, and that one polling answer carries.
pub const LIVE_WINDOW_BYTES: usize = 64 << 10;
/// Encoded windows that are kept per organization while it has viewers.
pub const LIVE_CACHE_BYTES_MAX: usize = 4 << 20;
/// A stalled viewer holds the rest of one frame. Up to this size of its window it shares the window with others; of a
/// larger one it copies that rest.
pub const LIVE_SHARED_WINDOW_BYTES_MAX: usize = 128 << 10;
/// How long a viewer that is behind waits before it asks a feed again that did not answer.
pub const LIVE_FEED_RETRY: Duration = Duration::from_secs(1);
/// A connection that has not proved who it is by then is dropped.
pub const LIVE_HANDSHAKE: Duration = Duration::from_secs(5);
/// Connections that may be in that state at the same time.
pub const LIVE_HANDSHAKES_MAX: usize = 2_048;
/// Live viewers per organization.
pub const LIVE_SOCKETS_PER_ORG_MAX: usize = 1_000;
/// How often the right of live viewers to watch is looked at again; the contract gives five seconds.
pub const LIVE_RECHECK: Duration = Duration::from_secs(2);
/// A refused viewer gets this long to read why and to go by itself.
pub const LIVE_FAREWELL: Duration = Duration::from_secs(1);
/// A viewer that has to take text and takes less than [`LIVE_STALL_BYTES`] within this time is cut off.
pub const LIVE_STALL: Duration = Duration::from_secs(15);
/// See [`LIVE_STALL`].
pub const LIVE_STALL_BYTES: usize = 16 << 10;

/// Results of one run up to which a list of runs carries them; dashboards read more from the run itself.
pub const LIST_ITEM_RESULTS_MAX: u64 = 2_000;
/// Bytes of results that one page of a list of runs carries in all.
pub const LIST_RESULTS_BYTES_MAX: usize = 8 << 20;
/// UTF-16 units of log text in one page, if the client does not say.
pub const LOG_PAGE_UNITS_DEFAULT: u64 = 256 << 10;
/// Most UTF-16 units of log text in one page.
pub const LOG_PAGE_UNITS_MAX: u64 = 1 << 20;
/// Results in one page, if the client does not say.
pub const TESTS_PAGE_DEFAULT: usize = 100;
/// Most results in one page.
pub const TESTS_PAGE_MAX: usize = 1_000;
/// Live streams (server-sent events) of one organization at the same time.
pub const LIVE_STREAMS_PER_ORG_MAX: usize = 200;
/// UTF-16 units of log text in one event of a live stream: what a slow client costs.
pub const LIVE_PAGE_UNITS: u64 = 32 << 10;
/// How often a live stream that has nothing to say says so: proxies cut what is silent for longer.
pub const LIVE_HEARTBEAT: Duration = Duration::from_secs(15);

/// Keys per user.
pub const API_KEYS_PER_USER_MAX: u64 = 50;
/// Failed logins within [`LOGIN_WINDOW`] before an address is locked.
pub const LOGIN_FAILURES_MAX: u32 = 5;
/// Window of failed logins, opened by the first.
pub const LOGIN_WINDOW: Duration = Duration::from_secs(15 * 60);
/// How long an address stays locked.
pub const LOGIN_LOCK: Duration = Duration::from_secs(15 * 60);
/// How long the link of a password reset is good.
pub const PASSWORD_RESET_LIFETIME: Duration = Duration::from_secs(3_600);
/// How long the answer to a request for a password reset takes at least: longer than what is done for an address that has
/// an account, so that the time does not tell which addresses have one.
pub const PASSWORD_RESET_ANSWER: Duration = Duration::from_millis(250);
/// How long a letter that greets a new account is of use.
pub const WELCOME_LETTER_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How often a change of a member is decided anew because others have changed that member meanwhile.
pub const MEMBER_CHANGE_TRIES: u32 = 5;
/// Lifetime of a token.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How long an audit entry is kept.
pub const AUDIT_RETENTION: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long an invitation can be redeemed.
pub const INVITATION_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long it is remembered after that, so that its token is still told apart from one that never was.
pub const INVITATION_RETENTION: Duration = AUDIT_RETENTION;
/// Rows that one list or one step of a purge touches.
pub const ROWS_PER_CALL_MAX: usize = 1_000;
/// Records of a store that are copied together; after each page it is noted how far the copy has come.
pub const COPY_PAGE_ROWS: usize = 512;
/// The same of a cluster, which sends as many rows whatever their size: at 64 KiB each 8 MiB.
pub const COPY_PAGE_ROWS_CQL: i32 = 128;
/// Bytes of them, about: one record more may go beyond.
pub const COPY_PAGE_BYTES: usize = 1 << 20;
/// How long a copy waits for its lease on a cluster to come back: a busy machine may lose one, and nobody else writes.
pub const COPY_LEASE_PATIENCE: Duration = Duration::from_secs(30);
/// How long before the end of its time an audit entry or an invitation is not copied any more, and how much longer than
/// needed a cluster keeps what is copied into it: longer than a copy takes.
pub const COPY_MARGIN: Duration = Duration::from_secs(24 * 3600);
/// Passwords hashed at the same time; each takes a core and 19 MiB.
pub const PASSWORD_HASHES_PARALLEL: usize = 2;
/// How often those who wait for a core are looked at while a password is hashed.
pub const PASSWORD_PULSE: Duration = Duration::from_micros(200);
/// After this long without its hash a password is hashed at the usual rank too.
pub const PASSWORD_PATIENCE: Duration = Duration::from_millis(500);
/// Passwords that may wait to be hashed: two seconds of work.
pub const PASSWORD_HASHES_WAITING_MAX: usize = 64;
/// Bytes of a token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 4_096;
/// How far the clock of the server that issued a token may be ahead of the one that checks it; seconds.
pub const TOKEN_CLOCK_SKEW_S: i64 = 300;
/// Bytes of an API key that is looked at; ours have 56.
pub const API_KEY_BYTES_MAX: usize = 512;
/// API keys whose hash is remembered, so that it need not be computed for each request.
pub const KEY_HASHES_KEPT: usize = 256;
/// A key's use is written down at most this often.
pub const KEY_USE_MARK_INTERVAL: Duration = Duration::from_secs(60);
/// Key uses that wait to be written down; further ones are not.
pub const KEY_USE_MARKS_WAITING_MAX: usize = 1_024;
/// Revocations that a listener may lag behind before it has to check everybody.
pub const REVOCATIONS_WAITING_MAX: usize = 1_024;
/// Entries of each credential cache: keys, accounts, tokens.
pub const CREDENTIAL_CACHE_ENTRIES_MAX: usize = 50_000;
/// How long finding out where a webhook's name leads may take: somebody waits for their settings to be saved.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a place for a run may be taken without its run being stored: a setup has long been answered by then.
pub const RUN_PLACE_PATIENCE: Duration = Duration::from_secs(60);
/// A cluster keeps the count of a period's runs this long after its last change: longer than a period, so that none is
/// forgotten while runs are counted in it.
pub const RUN_PLACES_KEPT: Duration = Duration::from_secs(62 * 24 * 3600);
/// Every day at this time after midnight UTC the bytes that each organization keeps are counted anew.
pub const STORAGE_RECOUNT: Duration = Duration::from_secs(2 * 3600);
/// How long a health probe may take before what it probes counts as unhealthy.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the outcome of the health probes is kept: each of them costs a sync.
pub const PROBE_CACHE: Duration = Duration::from_secs(1);
/// How stale a cached credential may be.
pub const CREDENTIAL_CACHE: Duration = Duration::from_secs(5);

/// Between two looks at how much organizations use: of many runs that begin at once one look is enough.
pub const USAGE_LOOK_PAUSE: Duration = Duration::from_secs(1);
/// How long it is waited after a look that failed.
pub const USAGE_LOOK_RETRY: Duration = Duration::from_secs(30);
/// How long a server that ends waits for the look that is under way.
pub const WATCH_CLOSE: Duration = Duration::from_secs(2);
/// Thresholds that are remembered in memory as told, 40 bytes each; beyond them the store is asked again.
pub const USAGE_TOLD_REMEMBERED_MAX: usize = 100_000;

/// Letters of one organization that wait to be sent, about 1 KiB each: an outage of the mail server that lasts a day, or a
/// thousand invitations at once. Further ones are not sent.
pub const OUTBOX_ORG_LETTERS_MAX: u64 = 1_000;
/// Letters of all organizations that wait to be sent: what one mail server takes in an hour or two.
pub const OUTBOX_LETTERS_MAX: u64 = 20_000;
/// Bytes of the key of a letter, and of a mark that something was told.
pub const LETTER_KEY_BYTES_MAX: usize = 200;
/// How long it is remembered how a letter ended: it is not sent again under the same key meanwhile.
pub const LETTER_END_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long an organization without letters is still looked at: longer than any change of it takes.
pub const OUTBOX_LOOK_AFTER: Duration = Duration::from_secs(3_600);

/// How long handing one letter over to the mail server may take.
pub const MAIL_TIMEOUT: Duration = Duration::from_secs(30);
/// How much longer than that a letter is kept from others: what the store takes to learn what became of it.
pub const MAIL_LEASE_MARGIN: Duration = Duration::from_secs(5);
/// Letters that are sent at the same time; each has a connection of its own.
pub const MAIL_AT_ONCE: usize = 8;
/// Failures after which a letter is given up.
pub const MAIL_FAILURES_MAX: u32 = 3;
/// Pauses before the second and the third try. Servers that put unknown senders off want minutes.
pub const MAIL_RETRY: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(600)];
/// Takings after which a letter is given up: it ends the processes that take it.
pub const MAIL_TAKEN_MAX: u32 = 10;
/// How often the outbox is looked at when nobody says that there is something.
pub const MAIL_LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long a handler waits to learn whether its letter was sent.
pub const MAIL_OUTCOME_WAIT: Duration = Duration::from_millis(2_500);
/// How often it looks whether another node has sent it.
pub const MAIL_OUTCOME_LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long letters that are being sent may take when the server ends.
pub const MAIL_CLOSE: Duration = Duration::from_secs(2);
/// How often it is counted what waits.
pub const MAIL_DEPTH_INTERVAL: Duration = Duration::from_secs(15);
/// How often ends of letters are forgotten.
pub const MAIL_PURGE_INTERVAL: Duration = Duration::from_secs(3_600);

/// Bytes of rows that the embedded store keeps in memory.
pub const STORE_CACHE_BYTES: u64 = 32 << 20;
/// Bytes of new rows of one table that the embedded store keeps in memory before it writes them out.
pub const STORE_MEMTABLE_BYTES: u64 = 8 << 20;
/// Bytes of a value from which on the embedded store keeps it apart from its key, where no compaction writes it again.
pub const STORE_LONG_VALUE_BYTES: u32 = 4 << 10;
/// How long the folding of runs waits for the embedded store to write out what it was given before.
pub const STORE_CATCH_UP_MAX: Duration = Duration::from_secs(60);
/// Bytes of the log that keeps such rows from being lost. When it is full the tables with the oldest of them are written
/// out: so this bounds what all of them have in memory.
pub const STORE_LOG_BYTES: u64 = 64 << 20;
/// Bytes reserved for a file of the journal: a file is written and synced without changing its length.
pub const JOURNAL_FILE_BYTES: u64 = 64 << 20;
/// Bytes of the disk left free for folding what was accepted.
pub const DISK_RESERVE_BYTES: u64 = 256 << 20;
/// How long starting may look for a node of the cluster that answers.
pub const CQL_START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connecting to one node of the cluster may take.
pub const CQL_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the cluster may take to answer a read, further tries included. A node gives up waiting for its replicas after
/// 5 s.
pub const CQL_REQUEST_TIMEOUT: Duration = Duration::from_secs(6);
/// The same of a write that may be repeated; a node gives up after 2 s. Short, so that whoever repeats it comes to do so
/// while clients still wait.
pub const CQL_WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// The same of a conditional write; a node takes up to 2 s for its turn and 2 s for the write.
pub const CQL_CONDITIONAL_TIMEOUT: Duration = Duration::from_secs(5);
/// After this long without an answer a statement that may be repeated is sent to another node too.
pub const CQL_SPECULATION_DELAY: Duration = Duration::from_secs(1);
/// How long the cluster may take to change its schema; one statement.
pub const CQL_SCHEMA_TIMEOUT: Duration = Duration::from_secs(20);
/// The schema's lock lapses this long after its holder kept it last: longer than one statement takes.
pub const CQL_LOCK_LAPSE: Duration = Duration::from_secs(60);
/// How long a process waits for another that changes the schema.
pub const CQL_LOCK_WAIT: Duration = Duration::from_secs(180);
/// How often it looks whether the other is done.
pub const CQL_LOCK_LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long a node may take to learn of a keyspace or a table that another one has.
pub const CQL_LEARN_PATIENCE: Duration = Duration::from_secs(5);
/// How often a change of an organization begins anew because another node was faster.
pub const CQL_CHANGE_TRIES: u32 = 24;
/// Longest pause before it does.
pub const CQL_CHANGE_BACKOFF_MAX: Duration = Duration::from_millis(200);
/// How long the record that a claim names may be awaited before the claim is replaced. Replacing it early is safe, it only
/// costs the other call its success.
pub const CQL_CLAIM_PATIENCE: Duration = Duration::from_secs(2);
/// How long a claim that was replaced, or a move that was called off, is remembered as void. A process that was stopped for
/// longer than this in the middle of one, and then went on, would not learn of it.
pub const CQL_VOID_KEPT: Duration = Duration::from_secs(365 * 24 * 3600);
/// How often it is looked for.
pub const CQL_CLAIM_LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Longest time that a cluster keeps a row which it forgets by itself: 20 years.
pub const CQL_TTL_MAX: Duration = Duration::from_secs(630_720_000);
/// Rows that the cluster sends at a time.
pub const CQL_PAGE_ROWS: i32 = 500;
/// Between two heartbeats of a node.
pub const HEARTBEAT: Duration = Duration::from_millis(500);
/// After the start of a heartbeat that succeeded a node may acknowledge for this long.
pub const LEASE: Duration = Duration::from_secs(2);
/// A node that has shown the same heartbeat for this long is dead. Clocks may differ in rate by less than this to the
/// lease.
pub const DEAD_AFTER: Duration = Duration::from_secs(4);
/// Numbers of a feed that are left out when its node was not heard to let go: more than it can have had under way.
pub const FEED_NUMBERS_SKIPPED: u64 = 1 << 16;
/// How often gathered observations are folded into their buckets when nobody scrapes.
pub const OBSERVATIONS_FOLD_INTERVAL: Duration = Duration::from_secs(30);

/// Connections at the same time, sockets of dashboards included; further ones wait in the system's backlog.
pub const CONNECTIONS_MAX: usize = 8_192;
/// Connections that the system keeps waiting.
pub const BACKLOG: u32 = 1_024;
/// How long a request's head may take to arrive.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the body of a JSON request may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the next piece of a refused request's body is waited for, so that its client gets to see the answer.
pub const DISCARD_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long it is read on in all: a slow line gets as long for it as for one that is taken.
pub const DISCARD_TIMEOUT: Duration = BODY_TIMEOUT;
/// How long a request that is refused may take to name its session.
pub const GLANCE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a refused request's body that are read on.
pub const DISCARD_BYTES_MAX: usize = 8 << 20;
/// How long a connection is kept without a request. Longer than the usual 60 s of a proxy, which is then the one
/// that closes, so that no request meets a closing connection.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long sent bytes may stay unacknowledged before a peer counts as gone.
pub const STALLED_PEER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests in flight may take to finish when the server ends. A supervisor commonly kills after 10 s.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Headers of a request.
pub const HEADERS_MAX: usize = 100;
/// Bytes of a request's head.
pub const HEADER_BYTES_MAX: usize = 32 << 10;
/// Requests at the same time on one HTTP/2 connection.
pub const HTTP2_STREAMS_MAX: u32 = 128;
/// Streams that a peer reset before they were looked at: beyond it the connection is a flood and ends.
pub const HTTP2_PENDING_RESETS_MAX: usize = 20;
/// Streams that ended by errors of the peer: beyond it the connection ends.
pub const HTTP2_ERROR_RESETS_MAX: usize = 256;
/// Bytes of a request's headers, unpacked, in HTTP/2.
pub const HTTP2_HEADER_LIST_BYTES_MAX: u32 = 32 << 10;
/// Bytes that one HTTP/2 stream may have on the way.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 128 << 10;
/// Bytes that one HTTP/2 connection may have on the way: what it can cost before the byte budget is asked.
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
/// Bytes of answers held back per HTTP/2 stream.
pub const HTTP2_SEND_BUFFER_BYTES: usize = 64 << 10;
/// How often a silent HTTP/2 peer is asked for a sign of life.
pub const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to give it.
pub const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(15);
/// A request that took longer is logged.
pub const SLOW_REQUEST: Duration = Duration::from_secs(2);

/// Environment variables of a project.
pub const VARIABLES_PER_PROJECT_MAX: u64 = 50;
/// Characters of a variable's name.
pub const VARIABLE_NAME_CHARS_MAX: usize = 128;
/// Characters of a variable's value.
pub const VARIABLE_VALUE_CHARS_MAX: usize = 4_096;
/// Characters of a project's image and test folder.
pub const PROJECT_TEXT_CHARS_MAX: usize = 256;
/// Characters of a project's target address.
pub const TARGET_URL_CHARS_MAX: usize = 2_048;
/// How often a change that was overtaken by another one of the same record is begun anew.
pub const OVERTAKEN_TRIES: u32 = 16;
/// Passes over all sealed values after which a rotation of keys gives up: others keep sealing with an older key.
pub const RESEAL_PASSES_MAX: u32 = 3;

/// Longest part of a load of `runstream bench`.
pub const BENCH_DURATION_MAX: Duration = Duration::from_secs(3_600);
/// Its fastest load, events a second.
pub const BENCH_RATE_MAX: f64 = 10_000_000.0;
/// Steps of its ramp.
pub const BENCH_RAMP_STEPS_MAX: u32 = 50;
/// Bytes of an answer to a batch that it reads: what is longer is no answer of this interface.
pub const BENCH_ANSWER_BYTES_MAX: usize = 64 << 10;
/// Gaps of one run that it tells apart; a run with more of them is not looked at further.
pub const BENCH_GAPS_MAX: usize = 10_000;
/// Faults that it describes; further ones are counted.
pub const BENCH_FINDINGS_MAX: usize = 10;
/// Bytes of a password file.
pub const PASSWORD_FILE_BYTES_MAX: u64 = 4 << 10;

const _: () = {
    assert!(HTTP2_STREAM_WINDOW_BYTES <= HTTP2_CONNECTION_WINDOW_BYTES);
    assert!(HEAD_TIMEOUT.as_millis() < IDLE_TIMEOUT.as_millis());
    assert!(DRAIN_TIMEOUT.as_millis() < REPORTER_TIMEOUT.as_millis());
    assert!(HEARTBEAT.as_millis() * 2 < LEASE.as_millis());
    assert!(LEASE.as_millis() * 2 <= DEAD_AFTER.as_millis());
    assert!(DEAD_AFTER.as_millis() < APPEND_WAIT.as_millis());
    assert!(CQL_CONNECT_TIMEOUT.as_millis() < CQL_START_TIMEOUT.as_millis());
    assert!(CQL_SCHEMA_TIMEOUT.as_millis() < CQL_LOCK_LAPSE.as_millis());
    assert!(CQL_CLAIM_PATIENCE.as_millis() < CQL_REQUEST_TIMEOUT.as_millis());
    assert!(CQL_VOID_KEPT.as_millis() < CQL_TTL_MAX.as_millis());
    assert!(RUN_PLACES_KEPT.as_secs() > 31 * 24 * 3600);
    assert!(CQL_LOCK_LAPSE.as_millis() < CQL_LOCK_WAIT.as_millis());
    assert!(CQL_SPECULATION_DELAY.as_millis() < CQL_WRITE_TIMEOUT.as_millis());
    assert!(CQL_WRITE_TIMEOUT.as_millis() < CQL_CONDITIONAL_TIMEOUT.as_millis());
    assert!(CQL_CONDITIONAL_TIMEOUT.as_millis() < CQL_REQUEST_TIMEOUT.as_millis());
    assert!(MAIL_RETRY.len() + 1 == MAIL_FAILURES_MAX as usize);
    assert!(MAIL_OUTCOME_LOOK_AGAIN.as_millis() < MAIL_OUTCOME_WAIT.as_millis());
    assert!(LOG_HEAD_BYTES < LOG_KEPT_BYTES_MAX);
    assert!(BUDGET_WAIT.as_millis() < APPEND_WAIT.as_millis());
    assert!(APPEND_WAIT.as_millis() < REPORTER_TIMEOUT.as_millis());
    assert!(EVENT_BODY_BYTES_MAX < INGEST_BUDGET_BYTES);
    assert!(CHUNK_BYTES_MAX < EVENT_BODY_BYTES_MAX);
    assert!(LONG_TEXT_CHARS_MAX < DOM_SNAPSHOT_AS_SENT_CHARS_MAX);
    assert!(LIVE_RECHECK.as_millis() * 2 < LIVE_HANDSHAKE.as_millis());
    assert!(LIVE_STALL.as_millis() < LIVE_PING_INTERVAL.as_millis());
    // A frame's JSON text is at most six times its text (control characters), and must fit into a polling answer.
    assert!(LIVE_WINDOW_BYTES + FRAME_TEXT_BYTES_MAX * 6 + 4_096 < LIVE_PAYLOAD_BYTES_MAX as usize);
    assert!(LIVE_WINDOW_BYTES <= LIVE_SHARED_WINDOW_BYTES_MAX);
    assert!(LIVE_SHARED_WINDOW_BYTES_MAX * 8 <= LIVE_CACHE_BYTES_MAX);
    assert!(REPLAY_MIN.as_millis() < REPLAY_MAX.as_millis());
    // What a tick sealed must be a window for those who come later.
    assert!((FEED_PENDING_BYTES_MAX + EVENT_BODY_BYTES_MAX) as u64 <= FEED_WINDOW_BYTES_MAX);
};
