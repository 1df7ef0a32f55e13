//! The embedded store as one side of a copy. What is taken in becomes rows, with their indexes and counts; segments become
//! rows too, as if the keeper had moved them out of the journal.

use std::sync::Arc;

use async_trait::async_trait;
use fjall::SingleWriterWriteTx;

use super::db::Db;
use super::runs::RunRows;
use super::table::{Key, Table};
use super::{
    LsmSettings, LsmStore, accounts, audit, invitations, logins, organizations, outbox, projects, resets,
    sealed, tokens, variables,
};
use crate::clock::UnixMs;
use crate::domain::id::UserId;
use crate::fs::Fs;
use crate::limits::{COPY_PAGE_ROWS, FEED_RETENTION};
use crate::store::contract::{FeedLog, Store, StoreError, StoreResult};
use crate::store::copy::record::{Record, is_audit_copied, is_invitation_copied};
use crate::store::copy::{Note, Page, Transfer};

/// How far a copy into this store has come.
const NOTES: Table<Note> = Table::named("copy");
const COPY: &str = "copy";
const NOTE: &str = "note";

/// What a store is read in.
#[derive(Debug, Clone, Copy)]
enum Part {
    Organizations,
    Users,
    Settings,
    RunPlaces,
    Keys,
    Invitations,
    Resets,
    Projects,
    ProjectSettings,
    Variables,
    Sealed,
    Quarantined,
    Revocations,
    LoginTries,
    Audit,
    Letters,
    LetterEnds,
    Marks,
    Runs(RunRows),
    Feeds,
}

/// In this order: a run is there before its segments, or a start in between would take them for what is left of one.
const PARTS: [Part; 24] = [
    Part::Organizations,
    Part::Users,
    Part::Settings,
    Part::RunPlaces,
    Part::Keys,
    Part::Invitations,
    Part::Resets,
    Part::Projects,
    Part::ProjectSettings,
    Part::Variables,
    Part::Sealed,
    Part::Quarantined,
    Part::Revocations,
    Part::LoginTries,
    Part::Audit,
    Part::Letters,
    Part::LetterEnds,
    Part::Marks,
    Part::Runs(RunRows::Runs),
    Part::Runs(RunRows::Segments),
    Part::Runs(RunRows::Texts),
    Part::Runs(RunRows::Results),
    Part::Runs(RunRows::Told),
    Part::Feeds,
];

/// Every keyspace, and how a copy takes care of what is in it. A copy refuses a store with any other.
const KEYSPACES: &[(&str, &str)] = &[
    ("organizations", "copied"),
    ("organizations_by_slug", "made from organizations"),
    ("users", "copied"),
    ("users_by_email", "made from users"),
    ("members", "made from users"),
    ("member_counts", "made from users"),
    ("organization_settings", "copied"),
    ("run_places", "copied"),
    ("api_keys", "copied"),
    ("api_keys_by_hash", "made from API keys"),
    ("api_keys_by_owner", "made from API keys"),
    ("invitations", "copied"),
    ("invitations_by_age", "made from invitations"),
    ("invitations_by_email", "made from invitations"),
    ("invitations_by_token", "made from invitations"),
    ("password_resets", "copied while they are good"),
    ("password_resets_by_hash", "made from password resets"),
    ("projects", "copied"),
    ("projects_by_age", "made from projects"),
    ("projects_by_slug", "made from projects"),
    ("project_counts", "made from projects"),
    ("project_settings", "copied"),
    ("variables", "copied"),
    ("variables_by_key", "made from environment variables"),
    ("sealed_values", "copied"),
    ("quarantined_tests", "copied"),
    ("revoked_tokens", "copied"),
    ("revoked_tokens_by_expiry", "made from revoked tokens"),
    ("login_tries", "copied"),
    ("login_tries_by_expiry", "made from login tries"),
    ("audit", "copied"),
    ("audit_by_age", "made from audit entries"),
    ("audit_counts", "made from audit entries"),
    ("letters", "copied"),
    ("letters_by_due", "made from letters"),
    ("letters_by_age", "made from letters"),
    ("letter_counts", "made from letters"),
    ("letter_ends", "copied"),
    ("letter_ends_by_expiry", "made from ends of letters"),
    ("told", "copied"),
    ("told_by_expiry", "made from marks"),
    ("runs", "copied, see `runs::transfer`"),
    ("run_contents", "copied, see `runs::transfer`"),
    ("run_segments", "copied, see `runs::transfer`"),
    ("probe", "of this store alone"),
    ("copy", "of this store alone"),
];

/// What a copy does with each keyspace, by its name.
#[must_use]
pub fn copied_keyspaces() -> &'static [(&'static str, &'static str)] {
    KEYSPACES
}

/// The embedded store, opened for copying.
pub(in crate::store) struct LsmTransfer {
    store: LsmStore,
}

impl LsmTransfer {
    pub(in crate::store) async fn open(settings: LsmSettings, fs: Arc<dyn Fs>) -> StoreResult<Self> {
        let store = LsmStore::open_for_copy(settings, fs).await?;
        store
            .db
            .blocking(|db| {
                let names = db.inner().list_keyspace_names();
                let known = |name: &str| KEYSPACES.iter().any(|(known, _)| *known == name);
                match names.iter().find(|name| !known(name.as_ref())) {
                    Some(name) => Err(unknown(name.as_ref())),
                    None => Ok(()),
                }
            })
            .await?;
        Ok(Self { store })
    }

    /// Forgets the rows of feeds that no viewer may ask for any more, as a server does now and then.
    pub(in crate::store) async fn forget_old(&self, now_ms: UnixMs) -> StoreResult<()> {
        let kept_ms = i64::try_from(FEED_RETENTION.as_millis()).unwrap_or(i64::MAX);
        while self.store.purge_feed(now_ms.saturating_sub(kept_ms)).await? > 0 {}
        Ok(())
    }
}

fn unknown(name: &str) -> StoreError {
    StoreError::Damaged(format!("the keyspace {name:?}, which this version knows nothing about"))
}

impl LsmStore {
    /// What is noted about a copy into this store.
    pub(super) async fn copy_note(&self) -> StoreResult<Option<Note>> {
        self.db
            .blocking(|db| {
                // Looking must not make it: each keyspace costs files.
                if !db.inner().keyspace_exists(COPY) {
                    return Ok(None);
                }
                NOTES.get(db, &db.inner().read_tx(), &Key::new().text(NOTE))
            })
            .await
    }
}

#[async_trait]
impl Transfer for LsmTransfer {
    fn parts(&self) -> u32 {
        u32::try_from(PARTS.len()).unwrap_or(u32::MAX)
    }

    async fn export(&self, part: u32, from: &[u8], as_of_ms: UnixMs) -> StoreResult<Page> {
        let from = from.to_vec();
        match PARTS.get(part as usize) {
            Some(Part::Runs(rows)) => self.store.runs.export(*rows, from).await,
            Some(Part::Feeds) => self.feeds(from).await,
            Some(part) => {
                let part = *part;
                self.store.db.blocking(move |db| cold(db, part, &from, as_of_ms)).await
            }
            None => Ok(Page::default()),
        }
    }

    async fn import(&self, records: Vec<Record>, now_ms: UnixMs) -> StoreResult<()> {
        let (of_runs, cold) = records.into_iter().partition(crate::store::lsm::runs::is_of_runs);
        self.store
            .db
            .commit(move |db, change| {
                let cold: Vec<Record> = cold;
                cold.into_iter().try_for_each(|record| take_in(db, change, record, now_ms))
            })
            .await?;
        self.store.runs.import(of_runs).await
    }

    fn lane(&self) -> u64 {
        self.store.runs.feed_lane()
    }

    async fn set_lane(&self, lane: u64) -> StoreResult<()> {
        self.store.runs.set_feed_lane(lane).await
    }

    async fn note(&self) -> StoreResult<Option<Note>> {
        self.store.copy_note().await
    }

    async fn put_note(&self, note: Option<&Note>) -> StoreResult<()> {
        let note = note.cloned();
        self.store
            .db
            .commit(move |db, change| match note {
                Some(note) => NOTES.put(db, change, Key::new().text(NOTE), &note),
                None => NOTES.remove(db, change, Key::new().text(NOTE)),
            })
            .await
    }

    /// The folder is locked.
    async fn is_alone(&self) -> StoreResult<bool> {
        Ok(true)
    }

    async fn close(self: Box<Self>) -> StoreResult<()> {
        self.store.shut_down().await
    }
}

impl LsmTransfer {
    /// How far the feeds of organizations have come.
    async fn feeds(&self, from: Vec<u8>) -> StoreResult<Page> {
        let read = move |db: &Db| {
            let organizations =
                accounts::ORGANIZATIONS.page(db, &db.inner().read_tx(), &from, COPY_PAGE_ROWS)?;
            Ok(organizations
                .into_iter()
                .map(|(key, organization)| (key, organization.id))
                .collect::<Vec<_>>())
        };
        let organizations = self.store.db.blocking(read).await?;
        let mut page = Page { next: next(&organizations), ..Page::default() };
        for (_, org) in organizations {
            let (head, floor) = (self.store.feed_head(org).await?, self.store.feed_floor(org).await?);
            if (head, floor) != (0, 0) {
                page.records.push(Record::Feed { org, head, floor });
            }
        }
        Ok(page)
    }
}

/// Where the page after these rows begins.
fn next<R>(rows: &[(Vec<u8>, R)]) -> Option<Vec<u8>> {
    rows.last().filter(|_| rows.len() >= COPY_PAGE_ROWS).map(|(key, _)| key.clone())
}

/// A page of accounts, keys and the like.
fn cold(db: &Db, part: Part, from: &[u8], as_of_ms: UnixMs) -> StoreResult<Page> {
    let view = db.inner().read_tx();
    macro_rules! page {
        ($table:expr, $record:expr) => {{
            let rows = $table.page(db, &view, from, COPY_PAGE_ROWS)?;
            let next = next(&rows);
            let records = rows.into_iter().map($record).filter_map(StoreResult::transpose);
            Ok(Page { records: records.collect::<StoreResult<_>>()?, next })
        }};
    }
    match part {
        Part::Organizations => page!(accounts::ORGANIZATIONS, |(_, row)| Ok(Some(Record::Organization(row)))),
        Part::Users => page!(accounts::USERS, |(_, row)| Ok(Some(Record::User(row)))),
        Part::Settings => page!(organizations::SETTINGS, |(key, settings)| {
            Ok(Some(Record::Settings { org: organizations::read_org(&key)?, settings }))
        }),
        Part::RunPlaces => page!(organizations::RUN_PLACES, |(key, places)| {
            let (org, period_ms) = organizations::read_places(&key)?;
            Ok(Some(Record::RunPlaces { org, period_ms, places }))
        }),
        Part::Keys => page!(accounts::KEYS, |(_, row)| Ok(Some(Record::Key(row)))),
        Part::Invitations => page!(invitations::INVITATIONS, |(_, row)| {
            Ok(is_invitation_copied(&row, as_of_ms).then_some(Record::Invitation(row)))
        }),
        Part::Resets => page!(resets::RESETS, |(key, reset)| {
            let key =
                key.try_into().map_err(|_| StoreError::Damaged("the key of a password reset".into()))?;
            let user = UserId::from_bytes(key);
            let account = accounts::USERS.get(db, &view, &accounts::user_key(user))?;
            let account = account.filter(|account| reset.is_good(&reset.hash, account, as_of_ms));
            Ok(account.map(|account| Record::Reset { org: account.org, user, reset }))
        }),
        Part::Projects => page!(projects::PROJECTS, |(_, row)| Ok(Some(Record::Project(row)))),
        Part::ProjectSettings => page!(projects::PROJECT_SETTINGS, |(key, settings)| {
            let (org, project) = projects::read_key(&key)?;
            Ok(Some(Record::ProjectSettings { org, project, settings }))
        }),
        Part::Variables => page!(variables::VARIABLES, |(_, row)| Ok(Some(Record::Variable(row)))),
        Part::Sealed => page!(sealed::SEALED, |(key, sealed)| {
            let (org, name) = outbox::read_key(&key)?;
            Ok(Some(Record::Sealed { org, name, sealed }))
        }),
        Part::Quarantined => {
            page!(projects::QUARANTINED, |(key, test)| { projects::read_quarantined(&key, test).map(Some) })
        }
        Part::Revocations => page!(tokens::REVOKED, |(key, expires_ms)| {
            let token = String::from_utf8(key).map_err(|_| StoreError::Damaged("a revoked token".into()))?;
            Ok((expires_ms > as_of_ms).then_some(Record::Revocation { token, expires_ms }))
        }),
        Part::LoginTries => page!(logins::LOGINS, |(key, tries)| {
            let email = String::from_utf8(key).map_err(|_| StoreError::Damaged("login tries".into()))?;
            Ok((tries.forget_ms() > as_of_ms).then_some(Record::LoginTries { email, tries }))
        }),
        Part::Audit => page!(audit::AUDIT, |(_, entry)| {
            Ok(is_audit_copied(&entry, as_of_ms).then_some(Record::Audit(entry)))
        }),
        Part::Letters => page!(outbox::LETTERS, |(_, waiting)| Ok(Some(Record::Letter(waiting)))),
        Part::LetterEnds => page!(outbox::ENDS, |(key, (end, until_ms))| {
            let (org, key) = outbox::read_key(&key)?;
            Ok((until_ms > as_of_ms).then_some(Record::LetterEnd { org, key, end, until_ms }))
        }),
        Part::Marks => page!(outbox::TOLD, |(key, until_ms)| {
            let (org, mark) = outbox::read_key(&key)?;
            Ok((until_ms > as_of_ms).then_some(Record::Mark { org, mark, until_ms }))
        }),
        Part::Runs(_) | Part::Feeds => Ok(Page::default()),
    }
}

/// Takes in a record that is not about runs.
fn take_in(db: &Db, change: &mut SingleWriterWriteTx<'_>, record: Record, now_ms: UnixMs) -> StoreResult<()> {
    match record {
        Record::Organization(organization) => accounts::take_in_organization(db, change, &organization),
        Record::User(user) => accounts::take_in_user(db, change, &user),
        Record::Settings { org, settings } => {
            organizations::SETTINGS.put(db, change, accounts::org_key(org), &settings)
        }
        Record::RunPlaces { org, period_ms, places } => {
            organizations::RUN_PLACES.put(db, change, accounts::org_key(org).moment(period_ms), &places)
        }
        Record::Key(key) => accounts::take_in_key(db, change, &key),
        Record::Invitation(invitation) => invitations::take_in(db, change, &invitation, now_ms),
        Record::Reset { user, reset, .. } => resets::put(db, change, user, &reset),
        Record::Project(project) => projects::take_in(db, change, &project),
        Record::ProjectSettings { org, project, settings } => {
            projects::PROJECT_SETTINGS.put(db, change, projects::project_key(org, project), &settings)
        }
        Record::Variable(variable) => variables::take_in(db, change, &variable),
        Record::Sealed { org, name, sealed } => sealed::put(db, change, org, &name, &sealed),
        Record::Quarantined { org, project, group, test } => {
            projects::take_in_quarantined(db, change, (org, project, &group), test)
        }
        Record::Revocation { token, expires_ms } => tokens::take_in(db, change, &token, expires_ms),
        Record::LoginTries { email, tries } => logins::take_in(db, change, &email, tries),
        Record::Audit(entry) => audit::take_in(db, change, &entry),
        Record::Letter(waiting) => outbox::take_in(db, change, &waiting),
        Record::LetterEnd { org, key, end, until_ms } => {
            outbox::take_in_end(db, change, (org, &key), end, until_ms)
        }
        Record::Mark { org, mark, until_ms } => outbox::take_in_mark(db, change, org, &mark, until_ms),
        Record::Run(_)
        | Record::Segment(_)
        | Record::Text { .. }
        | Record::Result { .. }
        | Record::Feed { .. }
        | Record::Told { .. } => Ok(()),
    }
}
