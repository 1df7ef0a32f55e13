//! Letters from the store to a real mail server (`tests/clients/mail.mjs`) and back, the server's clock in the test's hand.

mod crash;
mod delivery;
mod outside;
mod people;
mod resets;
mod server;
mod usage;

use runstream::clock::Clock;
use runstream::domain::id::OrgId;
use runstream::domain::mail::{LetterEnd, LetterState};
use runstream::domain::role::Role;
use runstream::outbound::mail::{Content, InvitationAction};
use runstream::store::contract::Posting;
use serde_json::{Value, json};

use self::server::MailServer;
use crate::support::beneath::Beneath;
use crate::support::site::{NOW_MS, Site};

/// A letter is of use for a day.
const DAY_MS: i64 = 24 * 3600 * 1_000;

/// The secret of every link.
fn token() -> String {
    "0123456789abcdef".repeat(4)
}

fn invitation(organization: &str, inviter: &str) -> Content {
    Content::Invitation {
        organization: organization.into(),
        inviter: inviter.into(),
        role: Role::Developer,
        action: InvitationAction::Signup,
        token: token(),
        expires_ms: NOW_MS + DAY_MS,
    }
}

/// A site that sends to `server`.
async fn site_for(server: &MailServer) -> Site {
    site_on(&Beneath::Lsm, server).await
}

/// The same on a store of choice.
async fn site_on(beneath: &Beneath, server: &MailServer) -> Site {
    let mail = server.settings();
    Site::start_with(|settings| {
        beneath.choose(settings);
        settings.mail = mail;
    })
    .await
}

/// Stores an invitation as a handler would, without sending it.
async fn post(site: &Site, org: OrgId, key: &str, to: &str, content: &Content) {
    let expires_ms = site.clock.now_ms() + DAY_MS;
    let letter = site.server.mail().write(org, key.to_owned(), to, content, expires_ms).unwrap();
    assert_eq!(site.store().post_letter(letter).await, Ok(Posting::Stored));
}

/// Waits until a letter is in this state.
async fn until_state(site: &Site, org: OrgId, key: &str, wanted: LetterState) {
    let reached = async {
        while site.store().letter_state(org, key).await != Ok(Some(wanted)) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(std::time::Duration::from_secs(60), reached).await.is_err() {
        panic!("{key} is {:?}, not {wanted:?}", site.store().letter_state(org, key).await);
    }
}

const SENT: LetterState = LetterState::Ended(LetterEnd::Sent);
const GIVEN_UP: LetterState = LetterState::Ended(LetterEnd::GivenUp);

fn failed(failures: u32) -> LetterState {
    LetterState::Waiting { failures }
}

/// The one address of a header as the mail server read it.
fn address(header: &Value) -> Value {
    json!([header[0]["name"], header[0]["address"], header.as_array().unwrap().len()])
}
