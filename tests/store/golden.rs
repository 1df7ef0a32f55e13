//! Records as the first version wrote them. A sample that no longer reads, or that is no longer what is written, means
//! that stored data would be lost: the record needs a new version beside the old one, never a new sample.

use std::fmt::Debug;

use runstream::domain::account::{ApiKey, AuditEntry, Organization, User};
use runstream::domain::id::{ApiKeyId, AuditId, InvitationId, OrgId, ProjectId, UserId, VariableId};
use runstream::domain::invitation::Invitation;
use runstream::domain::mail::{Letter, LetterEnd, LetterKind, SealedContent, WaitingLetter};
use runstream::domain::organization::{
    AiConfig, AiFeature, Integrations, NotifiedStatus, OrgSettings, OrgState, place,
};
use runstream::domain::project::{Project, ProjectSettings, TargetUrls};
use runstream::domain::reset::PasswordReset;
use runstream::domain::role::{AccountStatus, Role};
use runstream::domain::seal::{Sealed, Sealer, SealingKey};
use runstream::domain::variable::Variable;
use runstream::store::record;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Holds `tests/golden/<name>.v1.hex` against `record`.
fn check<R: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, record: &R) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let path = format!("{}/tests/golden/{name}.v1.hex", env!("CARGO_MANIFEST_DIR"));
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(hex(&record::encode(record).unwrap()), golden.trim(), "what is written: {path}");
    let (pairs, _) = golden.trim().as_bytes().as_chunks::<2>();
    let bytes: Vec<_> =
        pairs.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    assert_eq!(record::decode::<R>(&bytes).as_ref(), Ok(record), "what is read: {path}");
}

#[test]
fn organizations() {
    let organization = Organization {
        id: OrgId::from_bytes(*b"organization"),
        name: "Pinewood Labs".into(),
        slug: "pinewood-labs".into(),
        ai_analysis_enabled: true,
        created_ms: 1_774_000_000_123,
        updated_ms: 1_774_000_000_456,
    };
    check("organization", &organization);
}

#[test]
fn users() {
    let user = User {
        id: UserId::from_bytes(*b"user..user.."),
        org: OrgId::from_bytes(*b"organization"),
        email: "rosa@pinewood.test".into(),
        name: "Rosa Linde".into(),
        password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into(),
        role: Role::Developer,
        status: AccountStatus::Suspended,
        credentials_valid_from_ms: 1_774_000_000_000,
        last_login_ms: Some(1_774_000_000_789),
        created_ms: 1_774_000_000_123,
        updated_ms: 1_774_000_000_456,
    };
    check("user", &user);
}

#[test]
fn api_keys() {
    let key = ApiKey {
        id: ApiKeyId::from_bytes(*b"key....key.."),
        org: OrgId::from_bytes(*b"organization"),
        owner: UserId::from_bytes(*b"user..user.."),
        name: "nightly pipeline".into(),
        prefix: "pk_live_7c1d...".into(),
        hash: std::array::from_fn(|at| u8::try_from(at).unwrap()),
        created_ms: 1_774_000_000_123,
        last_used_ms: None,
    };
    check("api_key", &key);
}

#[test]
fn invitations() {
    let invitation = Invitation {
        id: InvitationId::from_bytes(*b"invitation.."),
        org: OrgId::from_bytes(*b"organization"),
        email: "ivo@pinewood.test".into(),
        role: Role::Developer,
        invited_by: UserId::from_bytes(*b"user..user.."),
        token: std::array::from_fn(|at| u8::try_from(at).unwrap()),
        accepted: true,
        created_ms: 1_774_000_000_123,
        expires_ms: 1_774_604_800_123,
    };
    check("invitation", &invitation);
}

#[test]
fn audit_entries() {
    let entry = AuditEntry {
        id: AuditId::from_bytes(*b"audit..audit"),
        org: OrgId::from_bytes(*b"organization"),
        user: UserId::from_bytes(*b"user..user.."),
        action: "user.role_changed".into(),
        target_type: "user".into(),
        target_id: "69a7e2742f4b8e1190ab3d2c".into(),
        details: r#"{"oldRole":"viewer"}"#.into(),
        ip: "203.0.113.9".into(),
        timestamp_ms: 1_774_000_000_123,
    };
    check("audit_entry", &entry);
}

/// The values in it are sealed with a random nonce, so it is the other way round: what is read is written again.
#[test]
fn organization_settings() {
    let path = format!("{}/tests/golden/organization_settings.v1.hex", env!("CARGO_MANIFEST_DIR"));
    let golden = std::fs::read_to_string(&path).unwrap();
    let (pairs, _) = golden.trim().as_bytes().as_chunks::<2>();
    let bytes: Vec<_> =
        pairs.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    let settings: OrgSettings = record::decode(&bytes).unwrap();
    assert_eq!(record::encode(&settings).unwrap(), bytes, "what is written: {path}");

    let sealer = Sealer::new(SealingKey::from_secret(&[7; 32]), Vec::new());
    let org = OrgId::from_bytes(*b"organization");
    let holds = |sealed: &Option<Sealed>, place: &str| {
        sealer.open(org, place, sealed.as_ref().unwrap()).unwrap().matches(place)
    };
    assert!(
        holds(&settings.slack.url, place::SLACK_URL) && holds(&settings.ms_teams.url, place::MS_TEAMS_URL)
    );
    assert!(holds(&settings.outbound_url, place::OUTBOUND_URL));
    assert!(holds(&settings.outbound_secret, place::OUTBOUND_SECRET));
    assert!(holds(&settings.webhook_secret, place::WEBHOOK_SECRET));
    assert_eq!(settings.slack.events(), [NotifiedStatus::Passed, NotifiedStatus::Unstable]);
    assert_eq!(settings.ms_teams.events(), []);
    assert!(settings.test_cases_enabled && !settings.test_cycles_enabled);
    assert_eq!((settings.integrations, settings.ai.clone()), (Integrations::default(), AiConfig::default()));
    let organization = Organization {
        id: org,
        name: "Pinewood Labs".into(),
        slug: "pinewood-labs".into(),
        ai_analysis_enabled: false,
        created_ms: 1,
        updated_ms: 1,
    };
    let state = OrgState { organization, settings };
    let on: Vec<_> = AiFeature::ALL.into_iter().filter(|feature| state.has(*feature)).collect();
    assert_eq!(on, [AiFeature::FlakinessDetective, AiFeature::AutomationPlanner]);
}

#[test]
fn project_settings() {
    let target_urls = TargetUrls { prod: "https://shop.test".into(), ..TargetUrls::default() };
    let settings = ProjectSettings {
        docker_image: "registry.test/e2e:5".into(),
        target_urls,
        default_test_folder: "tests/e2e".into(),
        auto_quarantine: false,
    };
    check("project_settings", &settings);
}

#[test]
fn variables() {
    let variable = Variable {
        id: VariableId::from_bytes(*b"variable...."),
        org: OrgId::from_bytes(*b"organization"),
        project: ProjectId::from_bytes(*b"project....."),
        key: "BASE_URL".into(),
        value: Some("https://shop.test".into()),
        created_ms: 1_774_000_000_123,
        updated_ms: 1_774_000_000_456,
    };
    check("variable", &variable);
}

#[test]
fn password_resets() {
    let reset = PasswordReset {
        hash: std::array::from_fn(|at| u8::try_from(at).unwrap()),
        expires_ms: 1_774_000_000_123,
        credentials_from_ms: 1_774_000_000_000,
    };
    check("password_reset", &reset);
}

#[test]
fn projects() {
    let project = Project {
        id: ProjectId::from_bytes(*b"project....."),
        org: OrgId::from_bytes(*b"organization"),
        name: "Web Shop".into(),
        slug: "web-shop".into(),
        auto_quarantine: true,
        created_ms: 1_774_000_000_123,
        updated_ms: 1_774_000_000_456,
    };
    check("project", &project);
}

#[test]
fn waiting_letters() {
    let letter = Letter {
        org: OrgId::from_bytes(*b"organization"),
        key: "invitation/69a7e0112f4b8e1190ab3c08".into(),
        kind: LetterKind::UsageAlert,
        to: "ivo@pinewood.test".into(),
        content: SealedContent(vec![0, 1, 255]),
        created_ms: 1_774_000_000_123,
        expires_ms: 1_774_000_000_456,
    };
    check("waiting_letter", &WaitingLetter { letter, taken: 2, failures: 1, due_ms: 1_774_000_000_789 });
}

#[test]
fn ends_of_letters() {
    check("letter_end", &(LetterEnd::GivenUp, 1_774_000_000_123_i64));
    // On a cluster the moment was added later.
    let added = record::encode_with(&LetterEnd::GivenUp, &1_774_000_000_123_i64).unwrap();
    assert_eq!(added, [2, 1, 0xf6, 0xb1, 0x9e, 0xaa, 0xa1, 0x67]);
    assert_eq!(record::decode_with(&added), Ok((LetterEnd::GivenUp, 1_774_000_000_123_i64)));
    assert_eq!(record::decode_with(&[1, 1]), Ok((LetterEnd::GivenUp, 0_i64)));
}
