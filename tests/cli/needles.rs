//! Everything secret that goes through a server in clear is looked for afterwards: in all it said, and in all its files.

use std::path::Path;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, header};
use runstream::access::{ConfiguredSecrets, Secrets};
use runstream::cli::client::Client;
use runstream::fs::OsFs;
use runstream::outbound::mail::{Content, open};
use runstream::store::contract::{Outbox as _, Store as _};
use runstream::store::lsm::{LsmSettings, LsmStore};
use serde_json::{Value, json};

use crate::store::sealed::is_on_disk;
use crate::support::account::{Account, created};
use crate::support::process::Process;

const PASSWORD: &str = "Correct-horse-7!";
const WRONG_PASSWORD: &str = "Battery-staple-8!";
const LATER_PASSWORD: &str = "Tea-and-honey-9!";
/// What an organization may keep secret, by the name of its setting.
const SETTINGS: [(&str, &str); 5] = [
    ("slackWebhookUrl", "https://hooks.slack.com/services/T0NEEDLE/B00NEEDLE/needleneedleneedleneedle"),
    ("msTeamsWebhookUrl", "https://pinewood.webhook.office.com/webhookb2/needle@2/IncomingWebhook/3/4"),
    ("outboundWebhookUrl", "https://1.1.1.1/hooks/needle-1f0c"),
    ("outboundWebhookSecret", "a-needle-of-the-outbound-webhook"),
    ("webhookSecret", "a-needle-of-the-routing-webhook"),
];

/// The same client with this header.
fn with(client: &Client, name: HeaderName, value: &str) -> Client {
    client.clone().with_header(name, HeaderValue::try_from(value).unwrap())
}

fn bearer(client: &Client, token: &str) -> Client {
    with(client, header::AUTHORIZATION, &format!("Bearer {token}"))
}

async fn ask(client: &Client, method: Method, path: &str, body: Option<&Value>, status: u16) {
    let answer = client.call(method, path, body).await.unwrap();
    assert_eq!(answer.status, status, "{path}: {}", answer.body);
}

/// The tokens in the letters that wait: that of an invitation and that of a reset.
async fn tokens_in_letters(data: &Path) -> (String, String) {
    let sealer = Secrets::load_or_create(data, ConfiguredSecrets::default()).unwrap().sealer();
    let store = LsmStore::open(LsmSettings::at(data), Arc::new(OsFs)).await.unwrap();
    let (mut invitation, mut reset) = (None, None);
    for waiting in store.take_letters(i64::MAX / 2, 1, 9).await.unwrap() {
        match open(&sealer, &waiting.letter).unwrap() {
            Content::Invitation { token, .. } => invitation = Some(token),
            Content::PasswordReset { token, .. } => reset = Some(token),
            _ => {}
        }
    }
    store.shut_down().await.unwrap();
    (invitation.unwrap(), reset.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_that_goes_through_a_server_is_in_its_log_or_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let port = format!("mail.port={nobody}");
    let settings = [
        "log.filter=trace",
        "rates.auth_per_minute=1000",
        "mail.host=localhost",
        port.as_str(),
        "mail.tls=none",
        "mail.from=runs@pinewood.test",
        "mail.dashboard_url=https://runs.pinewood.test",
    ];
    let arguments: Vec<_> = settings.iter().flat_map(|setting| ["--set", setting]).collect();

    let server = Process::serve(folder.path(), &arguments);
    let client = Account::client_of(&server.url);
    let form = json!({
        "email": "rosa@pinewood.test", "password": PASSWORD, "name": "Rosa", "organizationName": "Pinewood Labs"
    });
    let token = created(&client, "/api/auth/signup", &form).await["token"].as_str().unwrap().to_owned();
    let rosa = bearer(&client, &token);
    let key = created(&rosa, "/api/auth/api-keys", &json!({})).await["apiKey"].as_str().unwrap().to_owned();
    let by_key = with(&client, HeaderName::from_static("x-api-key"), &key);
    ask(&by_key, Method::GET, "/api/projects", None, 200).await;
    let update: Value = SETTINGS.iter().map(|(name, value)| (*name, json!(value))).collect();
    ask(&rosa, Method::PATCH, "/api/organization", Some(&update), 200).await;
    let login = json!({ "email": "rosa@pinewood.test", "password": WRONG_PASSWORD });
    ask(&client, Method::POST, "/api/auth/login", Some(&login), 401).await;
    let invited = json!({ "email": "ivo@pinewood.test", "role": "viewer" });
    created(&rosa, "/api/invitations", &invited).await;
    let forgotten = json!({ "email": "rosa@pinewood.test" });
    ask(&client, Method::POST, "/api/auth/password-reset/request", Some(&forgotten), 200).await;
    let mut said = server.end();
    let (invitation, reset) = tokens_in_letters(&data).await;

    let server = Process::serve(folder.path(), &arguments);
    let client = Account::client_of(&server.url);
    ask(&client, Method::GET, &format!("/api/invitations/validate/{invitation}"), None, 200).await;
    let form = json!({
        "email": "ivo@pinewood.test", "password": PASSWORD, "name": "Ivo", "inviteToken": invitation
    });
    let ivos = created(&client, "/api/auth/signup", &form).await["token"].as_str().unwrap().to_owned();
    let accepted = json!({ "token": invitation });
    ask(&bearer(&client, &ivos), Method::POST, "/api/invitations/accept", Some(&accepted), 404).await;
    ask(&client, Method::GET, &format!("/api/invitations/validate/{invitation}"), None, 404).await;
    let changed = json!({ "token": reset, "password": LATER_PASSWORD });
    ask(&client, Method::POST, "/api/auth/password-reset/confirm", Some(&changed), 200).await;
    ask(&client, Method::POST, "/api/auth/password-reset/confirm", Some(&changed), 400).await;
    ask(&bearer(&client, &token), Method::GET, "/api/auth/me", None, 401).await;
    said.push_str(&server.end());

    assert!(said.contains("\"level\":\"DEBUG\""), "the log is a talkative one");
    assert!(is_on_disk(&data, b"Pinewood Labs"), "this look can find what is there");
    let mut needles = vec![
        ("a password", PASSWORD),
        ("a wrong password", WRONG_PASSWORD),
        ("a password after a reset", LATER_PASSWORD),
        ("a token", token.as_str()),
        ("the token of who was invited", ivos.as_str()),
        ("an API key", key.as_str()),
        ("the token of an invitation", invitation.as_str()),
        ("the token of a reset", reset.as_str()),
    ];
    needles.extend(SETTINGS);
    for (what, needle) in needles {
        if let Some(line) = said.lines().find(|line| line.contains(needle)) {
            panic!("{what} is in the log: {line}");
        }
        assert!(!is_on_disk(&data, needle.as_bytes()), "{what} is in a file");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_mail_server_the_log_names_the_letters_and_tells_nothing_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::serve(folder.path(), &[]);
    let client = Account::client_of(&server.url);
    let form = json!({
        "email": "rosa@pinewood.test", "password": PASSWORD, "name": "Rosa", "organizationName": "Pinewood Labs"
    });
    let signed_up = created(&client, "/api/auth/signup", &form).await;
    let rosa = bearer(&client, signed_up["token"].as_str().unwrap());
    let invited = json!({ "email": "ivo@pinewood.test", "role": "viewer" });
    let invitation = created(&rosa, "/api/invitations", &invited).await["invitation"].clone();
    assert_eq!(invitation["emailSent"], false);
    let token = invitation["inviteUrl"].as_str().unwrap().split_once("token=").unwrap().1;
    let forgotten = json!({ "email": "rosa@pinewood.test" });
    ask(&client, Method::POST, "/api/auth/password-reset/request", Some(&forgotten), 200).await;
    let said = server.end();
    let letters = [
        format!("invitation/{}", invitation["id"].as_str().unwrap()),
        format!("password_reset/{}/", signed_up["user"]["id"].as_str().unwrap()),
    ];
    for letter in &letters {
        let mut told = said.lines().filter(|line| line.contains("a letter is not sent"));
        assert!(told.any(|line| line.contains(letter.as_str())), "{letter} is not named: {said}");
    }
    for needle in [token, "ivo@pinewood.test", "rosa@pinewood.test", "token="] {
        assert!(!said.contains(needle), "{needle} is in the log: {said}");
    }
}
