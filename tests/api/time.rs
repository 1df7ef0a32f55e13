//! What ends with time: tokens to the second.

use std::time::Duration;

use crate::support::site::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lives_a_day_to_the_second() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    // It was issued 123 ms into a second, and counts whole seconds.
    site.clock.advance(Duration::from_millis(24 * 3_600_000 - 124));
    assert_eq!(site.get("/api/auth/me").token(&rosa.token).send().await.status, 200);
    site.clock.advance(Duration::from_millis(1));
    let over = site.get("/api/auth/me").token(&rosa.token).send().await;
    assert_eq!(over.failure(), (401, "Invalid token".to_owned()));
    assert_eq!(site.log_in(&rosa.email).await.user, rosa.user);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tokens_lifetime_is_what_is_configured() {
    let site = Site::start_with(|settings| settings.access.token_lifetime = Duration::from_secs(60)).await;
    let rosa = site.sign_up("rosa").await;
    site.advance(59);
    assert_eq!(site.get("/api/auth/me").token(&rosa.token).send().await.status, 200);
    site.advance(1);
    assert_eq!(site.get("/api/auth/me").token(&rosa.token).send().await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_stays_revoked_until_it_would_have_expired() {
    let site = Site::start().await;
    let rosa = site.sign_up("rosa").await;
    site.post("/api/auth/logout").token(&rosa.token).send().await.expect(200);
    for hours in [1, 20, 2] {
        site.advance(hours * 3600);
        let answer = site.get("/api/auth/me").token(&rosa.token).send().await;
        assert_eq!(answer.failure(), (401, "Invalid token".to_owned()));
    }
}
