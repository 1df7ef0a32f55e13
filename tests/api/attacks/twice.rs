//! Credentials that come twice, or in another place. A proxy in front may look at the one while the server looks at the
//! other: of two of a kind none counts.

use runstream::access::Secret;
use runstream::domain::role::Role;

use crate::server::wire::{Answer, Wire};
use crate::support::site::{Site, unlimited};

/// What the monitor presents.
const MONITOR: &str = "0123456789abcdef0123456789abcdef";

/// Sends a request with these header lines, in raw bytes.
async fn ask(site: &Site, target: &str, lines: &[String]) -> Answer {
    let mut wire = Wire::connect(site.server.address()).await;
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    wire.send(&format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n")).await;
    wire.answer().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_credentials_of_one_kind_none_counts() {
    let site = Site::start_with(unlimited).await;
    let rosa = site.sign_up("rosa").await;
    let vera = site.member(&rosa, "vera", Role::Viewer).await;
    let (token, other) = (&rosa.token, &vera.token);
    let (key, others_key) = (site.key(&rosa).await, site.key(&vera).await);
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let api_key = |key: &str| format!("x-api-key: {key}");
    let check = async |path: &str, lines: &[String], expected: Option<&str>| {
        let answer = ask(&site, path, lines).await;
        match expected {
            None => assert_eq!(answer.status(), 200, "{path} with {lines:?}: {answer:?}"),
            Some(error) => {
                assert_eq!(answer.status(), 401, "{path} with {lines:?}: {answer:?}");
                assert!(answer.body.contains(error), "{path} with {lines:?}: {answer:?}");
            }
        }
    };
    let invalid = Some("Invalid token");
    for path in ["/api/users", "/api/projects"] {
        check(path, &[bearer(token)], None).await;
        for second in [token.as_str(), other.as_str(), "x", ""] {
            check(path, &[bearer(token), bearer(second)], invalid).await;
            check(path, &[bearer(second), bearer(token)], invalid).await;
        }
        check(path, &[bearer(token), "authorization: Basic cm9zYTp4".to_owned()], invalid).await;
        check(path, &[format!("Authorization: Bearer {token}, Bearer {token}")], invalid).await;
        check(path, &[format!("Authorization: Bearer {token},{other}")], invalid).await;
    }
    let invalid = Some("Invalid API key");
    check("/api/projects", &[api_key(&key)], None).await;
    for second in [key.as_str(), others_key.as_str(), "x", ""] {
        check("/api/projects", &[api_key(&key), api_key(second)], invalid).await;
        check("/api/projects", &[api_key(second), api_key(&key), bearer(token)], invalid).await;
    }
    check("/api/projects", &[format!("x-api-key: {key}, {key}")], invalid).await;
    // One of each: the key goes first where keys are taken, and is nothing elsewhere.
    check("/api/projects", &[api_key(&key), bearer("x")], None).await;
    check("/api/projects", &[api_key("x"), bearer(token)], invalid).await;
    check("/api/users", &[api_key("x"), bearer(token)], None).await;
    check("/api/users", &[api_key(&key), api_key(&key)], Some("Authentication required")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_secrets_of_a_monitor_none_counts() {
    let site = Site::start_with(|settings| {
        unlimited(settings);
        settings.api.monitor_secret = Some(Secret::new(MONITOR.as_bytes()).unwrap());
    })
    .await;
    let secret = |value: &str| format!("X-Agnox-Monitor-Secret: {value}");
    let status = async |lines: &[String]| ask(&site, "/api/system/monitor-status", lines).await.status();
    assert_eq!(status(&[secret(MONITOR)]).await, 200);
    for second in [MONITOR, "x", ""] {
        assert_eq!(status(&[secret(MONITOR), secret(second)]).await, 401, "then {second:?}");
        assert_eq!(status(&[secret(second), secret(MONITOR)]).await, 401, "{second:?} before");
    }
    assert_eq!(status(&[secret(&format!("{MONITOR}, {MONITOR}"))]).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_elsewhere_is_none() {
    let site = Site::start_with(unlimited).await;
    let rosa = site.sign_up("rosa").await;
    let (token, key) = (&rosa.token, site.key(&rosa).await);
    for line in [
        format!("Cookie: token={token}; access_token={token}; jwt={token}"),
        format!("Proxy-Authorization: Bearer {token}"),
        format!("X-Access-Token: {token}"),
        format!("X-Authorization: Bearer {token}"),
        format!("Authorization: {token}"),
        format!("Authorization: JWT {token}"),
        format!("Authorization: Basic {token}"),
        format!("Api-Key: {key}"),
        format!("Authorization: ApiKey {key}"),
        format!("X-User-Id: {}", rosa.user["id"]),
        format!("X-Forwarded-User: {}", rosa.email),
        format!("X-Organization-Id: {}", rosa.user["organizationId"]),
    ] {
        let answer = ask(&site, "/api/projects", std::slice::from_ref(&line)).await;
        assert_eq!(answer.status(), 401, "{line}: {answer:?}");
        assert!(answer.body.contains("Authentication required"), "{line}: {answer:?}");
    }
    for name in ["token", "access_token", "apiKey", "api_key", "x-api-key", "authorization"] {
        for value in [token.as_str(), &key] {
            let answer = ask(&site, &format!("/api/projects?{name}={value}"), &[]).await;
            assert_eq!(answer.status(), 401, "{name} in the query: {answer:?}");
        }
    }
}
