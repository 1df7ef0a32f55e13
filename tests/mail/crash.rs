//! A process that is killed between storing a letter and sending it.

use std::sync::Arc;

use runstream::access::{ConfiguredSecrets, Secrets};
use runstream::clock::{Clock, SystemClock};
use runstream::domain::mail::{Letter, LetterKind};
use runstream::fs::OsFs;
use runstream::outbound::mail::seal;
use runstream::store::contract::{Outbox, Posting};
use runstream::store::lsm::{LsmSettings, LsmStore};
use serde_json::json;

use super::server::MailServer;
use super::{DAY_MS, invitation};
use crate::store::sample;
use crate::support::process::Process;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_is_sent_by_the_next_process_if_the_first_is_killed_over_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (org, now_ms) = (sample::org(), SystemClock.now_ms());
    // As a request that was acknowledged would leave it.
    std::fs::create_dir_all(&data).unwrap();
    let sealer = Secrets::load_or_create(&data, ConfiguredSecrets::default()).unwrap().sealer();
    let letter = Letter {
        org,
        key: "invitation/1".into(),
        kind: LetterKind::Invitation,
        to: "ivo@pinewood.test".into(),
        content: seal(&sealer, org, "invitation/1", &invitation("Pinewood", "Rosa")).unwrap(),
        created_ms: now_ms,
        expires_ms: now_ms + DAY_MS,
    };
    let store = LsmStore::open(LsmSettings::at(&data), Arc::new(OsFs)).await.unwrap();
    assert_eq!(store.post_letter(letter).await, Ok(Posting::Stored));
    drop(store);

    let mut silent = MailServer::start_with(json!({ "secure": "none", "answer": "silent" })).await;
    let serve = |port: u16| {
        let settings = [
            "mail.host=localhost".to_owned(),
            format!("mail.port={port}"),
            "mail.tls=none".to_owned(),
            "mail.from=runs@pinewood.test".to_owned(),
            "mail.dashboard_url=https://runs.pinewood.test".to_owned(),
            "mail.timeout_s=1".to_owned(),
        ];
        let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        Process::serve(folder.path(), &arguments)
    };
    let first = serve(silent.port);
    silent.until("connected", 1).await;
    first.signal("KILL");
    drop(first);

    let mut server = MailServer::start().await;
    let second = serve(server.port);
    let mail = server.mail(1).await;
    assert_eq!(mail["envelope"], json!(["runs@pinewood.test", "ivo@pinewood.test"]));
    let errors = second.end();
    assert!(!errors.contains("ivo@") && !errors.contains("0123456789abcdef"), "{errors}");
    server.listen().await;
    assert_eq!(server.count("mail"), 1);
}
