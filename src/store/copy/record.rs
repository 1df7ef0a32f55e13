//! What a store keeps, record by record, the same on every store: what can be made from other records (indexes, counts,
//! lookups, claims) is not among them and is made anew by whoever takes a record in.

use serde::Serialize;

use crate::clock::UnixMs;
use crate::domain::account::{ApiKey, AuditEntry, Organization, User};
use crate::domain::execution::{Cycle, Execution, Session};
use crate::domain::id::{ExecutionId, OrgId, ProjectId, UserId, stored_org};
use crate::domain::invitation::Invitation;
use crate::domain::mail::{LetterEnd, WaitingLetter};
use crate::domain::organization::OrgSettings;
use crate::domain::project::{Project, ProjectSettings};
use crate::domain::reset::PasswordReset;
use crate::domain::result::TestResult;
use crate::domain::seal::Sealed;
use crate::domain::segment::{Position, Segment};
use crate::domain::variable::Variable;
use crate::limits::{AUDIT_RETENTION, COPY_MARGIN};
use crate::store::contract::{ClosedRun, StoreResult};
use crate::store::fold::feed::FeedRecord;
use crate::store::fold::records::{SettledRow, closed_to_bytes};
use crate::store::fold::segment::encode;
use crate::store::places::Places;
use crate::store::tries::Tries;

/// Declares the kinds of records with their names.
macro_rules! kinds {
    ($($kind:ident $name:literal,)*) => {
        /// The kinds of records.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(
                #[doc = $name]
                $kind,
            )*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// What people call it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    Organization "organizations",
    User "users",
    Settings "settings of organizations",
    RunPlaces "places for runs",
    Key "API keys",
    Invitation "invitations",
    Reset "password resets",
    Project "projects",
    ProjectSettings "settings of projects",
    Variable "environment variables",
    Sealed "sealed values",
    Quarantined "quarantined tests",
    Revocation "revoked tokens",
    LoginTries "login tries",
    Audit "audit entries",
    Letter "letters",
    LetterEnd "ends of letters",
    Mark "marks of what was told",
    Run "runs",
    Segment "segments",
    Text "pieces of text",
    Result "results",
    Feed "feeds",
    Told "rows of feeds",
}

/// A record.
#[expect(
    clippy::large_enum_variant,
    reason = "at most a page of them is in memory, and most are of the large kind"
)]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::store) enum Record {
    Organization(Organization),
    User(User),
    Settings {
        #[serde(with = "stored_org")]
        org: OrgId,
        settings: OrgSettings,
    },
    RunPlaces {
        #[serde(with = "stored_org")]
        org: OrgId,
        period_ms: UnixMs,
        places: Places,
    },
    /// With its last use.
    Key(ApiKey),
    /// Whatever became of it.
    Invitation(Invitation),
    /// One that is still good for the member.
    Reset {
        #[serde(with = "stored_org")]
        org: OrgId,
        user: UserId,
        reset: PasswordReset,
    },
    Project(Project),
    ProjectSettings {
        #[serde(with = "stored_org")]
        org: OrgId,
        project: ProjectId,
        settings: ProjectSettings,
    },
    Variable(Variable),
    /// A sealed value that has a row of its own. It is copied as it is: the target needs the same keys.
    Sealed {
        #[serde(with = "stored_org")]
        org: OrgId,
        name: String,
        sealed: Sealed,
    },
    Quarantined {
        #[serde(with = "stored_org")]
        org: OrgId,
        project: ProjectId,
        group: String,
        test: String,
    },
    Revocation {
        token: String,
        expires_ms: UnixMs,
    },
    LoginTries {
        email: String,
        tries: Tries,
    },
    Audit(AuditEntry),
    Letter(WaitingLetter),
    /// How a letter ended, remembered until then.
    LetterEnd {
        #[serde(with = "stored_org")]
        org: OrgId,
        key: String,
        end: LetterEnd,
        until_ms: UnixMs,
    },
    /// That something was told, remembered until then.
    Mark {
        #[serde(with = "stored_org")]
        org: OrgId,
        mark: String,
        until_ms: UnixMs,
    },
    Run(Box<RunRecord>),
    /// A segment of a run that is not settled.
    Segment(SegmentRecord),
    /// A piece of a settled run's text.
    Text {
        #[serde(with = "stored_org")]
        org: OrgId,
        execution: ExecutionId,
        /// Where it starts, in UTF-16 units and in bytes.
        units: u64,
        bytes: u64,
        piece: String,
    },
    /// A settled run's result.
    Result {
        #[serde(with = "stored_org")]
        org: OrgId,
        execution: ExecutionId,
        result: Box<TestResult>,
    },
    /// How far an organization's feed has come, and up to where it is forgotten.
    Feed {
        #[serde(with = "stored_org")]
        org: OrgId,
        head: u64,
        floor: u64,
    },
    /// A row of the feed.
    Told {
        #[serde(with = "stored_org")]
        org: OrgId,
        seq: u64,
        told: FeedRecord,
    },
}

/// A run: its documents as they are now, and what decides about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::store) struct RunRecord {
    pub(in crate::store) execution: Execution,
    pub(in crate::store) cycle: Cycle,
    /// `None` once the archive has forgotten it.
    pub(in crate::store) session: Option<Session>,
    pub(in crate::store) closure: Option<StoredClosure>,
    pub(in crate::store) settled: Option<(SettledRow, u64)>,
    /// How many segments it has; none once it is settled.
    pub(in crate::store) segments: u64,
    /// Where its text ends.
    pub(in crate::store) end: Position,
}

/// A closure; its number in the feed is part of it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) struct StoredClosure(pub(in crate::store) ClosedRun);

impl Serialize for StoredClosure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        closed_to_bytes(&self.0).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// A segment, numbered from 1 within its run: epochs are of the store that it was written to.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) struct SegmentRecord {
    pub(in crate::store) number: u64,
    pub(in crate::store) segment: Segment,
}

impl Serialize for SegmentRecord {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (_, parts) = encode(&self.segment).map_err(serde::ser::Error::custom)?;
        let Segment { org, execution, .. } = &self.segment;
        (org.as_bytes(), execution, self.number, parts.concat()).serialize(serializer)
    }
}

impl Record {
    pub(in crate::store) fn kind(&self) -> Kind {
        match self {
            Self::Organization(_) => Kind::Organization,
            Self::User(_) => Kind::User,
            Self::Settings { .. } => Kind::Settings,
            Self::RunPlaces { .. } => Kind::RunPlaces,
            Self::Key(_) => Kind::Key,
            Self::Invitation(_) => Kind::Invitation,
            Self::Reset { .. } => Kind::Reset,
            Self::Project(_) => Kind::Project,
            Self::ProjectSettings { .. } => Kind::ProjectSettings,
            Self::Variable(_) => Kind::Variable,
            Self::Sealed { .. } => Kind::Sealed,
            Self::Quarantined { .. } => Kind::Quarantined,
            Self::Revocation { .. } => Kind::Revocation,
            Self::LoginTries { .. } => Kind::LoginTries,
            Self::Audit(_) => Kind::Audit,
            Self::Letter(_) => Kind::Letter,
            Self::LetterEnd { .. } => Kind::LetterEnd,
            Self::Mark { .. } => Kind::Mark,
            Self::Run(_) => Kind::Run,
            Self::Segment(_) => Kind::Segment,
            Self::Text { .. } => Kind::Text,
            Self::Result { .. } => Kind::Result,
            Self::Feed { .. } => Kind::Feed,
            Self::Told { .. } => Kind::Told,
        }
    }

    /// The bytes that are summed up: equal for equal records, whatever the store.
    pub(in crate::store) fn to_bytes(&self) -> StoreResult<Vec<u8>> {
        crate::store::record::encode(self)
    }
}

/// Whether an audit entry is copied: one whose time ends within a day is left to its end.
pub(in crate::store) fn is_audit_copied(entry: &AuditEntry, as_of_ms: UnixMs) -> bool {
    let kept_ms = i64::try_from(AUDIT_RETENTION.as_millis()).unwrap_or(i64::MAX);
    outlives_a_copy(entry.timestamp_ms.saturating_add(kept_ms), as_of_ms)
}

/// Whether an invitation is copied: as an audit entry.
pub(in crate::store) fn is_invitation_copied(invitation: &Invitation, as_of_ms: UnixMs) -> bool {
    outlives_a_copy(invitation.kept_until_ms(), as_of_ms)
}

/// Whether what is kept until then is there in both stores for as long as a copy takes.
fn outlives_a_copy(until_ms: UnixMs, as_of_ms: UnixMs) -> bool {
    let margin_ms = i64::try_from(COPY_MARGIN.as_millis()).unwrap_or(i64::MAX);
    until_ms > as_of_ms.saturating_add(margin_ms)
}
