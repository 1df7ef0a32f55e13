//! Credentials that were good once, against every endpoint: over, revoked, or of somebody who is gone, suspended or
//! elsewhere; and tokens that name another organization than their person's.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use runstream::domain::member::MemberChange;
use runstream::domain::role::{AccountStatus, Role};
use serde_json::{Value, json};

use super::expectations::{EXPECTED, Expected, Meets};
use super::walk::ask;
use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::site::{Ask, NOW_MS, PASSWORD, Person, SIGNING, Site, known_secrets};

on_each_store_beneath! { what_was_a_credential_once_lets_nobody_in }

const A_DAY_S: u64 = 24 * 3_600;

/// A credential that is none any more.
struct Ended {
    why: &'static str,
    what: What,
    /// What an endpoint says that would have taken it.
    refusal: (u16, &'static str),
}

enum What {
    Token(String),
    Key(String),
}

impl Ended {
    fn token(why: &'static str, token: &str) -> Self {
        Self { why, what: What::Token(token.to_owned()), refusal: (401, "Invalid token") }
    }

    fn key(why: &'static str, key: String) -> Self {
        Self { why, what: What::Key(key), refusal: (401, "Invalid API key") }
    }

    fn present<'s>(&self, asked: Ask<'s>) -> Ask<'s> {
        match &self.what {
            What::Token(token) => asked.token(token),
            What::Key(key) => asked.key(key),
        }
    }

    /// What this row answers; `None` for an endpoint that asks for nothing.
    fn expected(&self, row: &Expected) -> Option<(u16, String)> {
        let [.., key, nobody] = row.callers;
        let (status, error) = match self.what {
            _ if nobody == Meets::Yes => return None,
            What::Key(_) if key != Meets::Yes => (401, "Authentication required"),
            _ => self.refusal,
        };
        Some((status, error.to_owned()))
    }
}

/// The claims of a token, without its signature.
fn claims(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims
}

/// A token with these claims that this site would have signed.
fn signed(claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(&SIGNING)).unwrap()
}

/// One of each.
async fn ended(site: &Site) -> Vec<Ended> {
    let old = site.sign_up("old").await;
    site.advance(A_DAY_S);
    let mut all = vec![Ended::token("a token of yesterday", &old.token)];

    let rosa = site.sign_up("rosa").await;
    let member = async |name: &str| site.member(&rosa, name, Role::Developer).await;
    let id = |person: &Person| person.user["id"].as_str().unwrap().to_owned();

    let out = member("out").await;
    site.post("/api/auth/logout").token(&out.token).send().await.expect(200);
    all.push(Ended::token("a token that was logged out", &out.token));

    let changed = member("changed").await;
    let key = site.key(&changed).await;
    let body = json!({ "currentPassword": PASSWORD, "newPassword": "Other-horse-2!" });
    site.post("/api/auth/change-password").token(&changed.token).json(&body).send().await.expect(200);
    all.push(Ended::token("a token from before the password was changed", &changed.token));
    all.push(Ended::key("a key from before the password was changed", key));

    let own = member("own").await;
    let key = site.key(&own).await;
    let listed = site.get("/api/auth/api-keys").token(&own.token).send().await.expect(200);
    let revoked = format!("/api/auth/api-keys/{}", listed["data"][0]["id"].as_str().unwrap());
    site.delete(&revoked).token(&own.token).send().await.expect(200);
    all.push(Ended::key("a key that was revoked", key));

    let removed = member("removed").await;
    let key = site.key(&removed).await;
    site.delete(&format!("/api/users/{}", id(&removed))).token(&rosa.token).send().await.expect(200);
    all.push(Ended::token("the token of a removed member", &removed.token));
    all.push(Ended::key("the key of a removed member", key));

    let moved = member("moved").await;
    let key = site.key(&moved).await;
    let ivo = site.sign_up("ivo").await;
    let invited = json!({ "email": moved.email, "role": "admin" });
    let invited = site.post("/api/invitations").token(&ivo.token).json(&invited).send().await.expect(201);
    let invite = invited["invitation"]["inviteUrl"].as_str().unwrap().split_once("token=").unwrap().1;
    let accepted = site.post("/api/invitations/accept").token(&moved.token).json(&json!({ "token": invite }));
    accepted.send().await.expect(200);
    all.push(Ended::token("the token of a member who has moved", &moved.token));
    all.push(Ended::key("the key of a member who has moved", key));

    let suspended = member("suspended").await;
    let key = site.key(&suspended).await;
    let stored = site.stored(&suspended).await;
    let change = MemberChange::Status(AccountStatus::Suspended);
    let done = site.store().change_member(stored.org, stored.id, change, NOW_MS, None).await;
    assert!(done.unwrap().is_some());
    let refusal = (403, "Account suspended");
    all.push(Ended { refusal, ..Ended::token("the token of a suspended member", &suspended.token) });
    all.push(Ended::key("the key of a suspended member", key));

    // Signed by this site's own secret: only what the token says is wrong.
    let mut elsewhere = claims(&rosa.token);
    assert!(site.get("/api/auth/me").token(&signed(&elsewhere)).send().await.status == 200, "the control");
    elsewhere["organizationId"] = ivo.user["organizationId"].clone();
    all.push(Ended::token("a token that names another organization", &signed(&elsewhere)));
    let mut nobody = claims(&rosa.token);
    nobody["userId"] = "690a11b2c3d4e5f607182930".into();
    all.push(Ended::token("a token of nobody", &signed(&nobody)));
    all
}

async fn what_was_a_credential_once_lets_nobody_in(beneath: &Beneath) {
    let site = Site::start_with(|settings| {
        beneath.choose(settings);
        known_secrets(settings);
    })
    .await;
    let ended = ended(&site).await;
    assert_eq!(ended.len(), 13);
    for row in EXPECTED.iter().filter(|row| row.id != "show_monitor_status") {
        // Every tier is fresh, and no cache has anything.
        site.advance(61);
        for credential in &ended {
            let answer = credential.present(ask(&site, row)).send().await;
            match credential.expected(row) {
                Some(refusal) => assert_eq!(answer.failure(), refusal, "{} by {}", row.id, credential.why),
                // On a public row it is ignored.
                None => assert!(![401, 403].contains(&answer.status), "{} by {}", row.id, credential.why),
            }
            assert!(answer.rate().is_none() || row.callers[4] == Meets::Yes || row.path.contains("/ingest/"));
        }
    }
}
