//! Two organizations write all the time while people come, go, move between them and lose their rights: no frame of the
//! other organization ever reaches a socket, and none at all five seconds after its right has ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::AUTHORIZATION;
use runstream::cli::client::{Answer, Client};
use runstream::clock::{Clock as _, SystemClock};
use runstream::domain::member::MemberChange;
use runstream::domain::role::AccountStatus;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::long_mode;
use crate::support::node::Script;
use crate::support::stage::{Organization, Stage, text, with_header};

on_each_store_beneath! {
    no_frame_reaches_whom_it_is_not_for_while_membership_changes,
}

/// What the contract gives between the loss of a right and the last frame.
const GRACE_MS: i64 = 5_000;
const PASSWORD: &str = "Correct-horse-1!";
/// Who moves about.
const MOVERS: usize = 4;

/// One organization with what tells its frames from the other's.
struct Side {
    organization: Organization,
    id: String,
    task: String,
    tag: String,
    load: JoinHandle<()>,
}

impl Side {
    async fn open(stage: &Stage, name: &str) -> Self {
        let organization = stage.organization(name).await;
        let me = call(&organization.member, Method::GET, "/api/auth/me", None).await;
        let run = organization.open().await;
        let (task, tag) = (run.task.clone(), format!("line of {name}"));
        let line = tag.clone();
        let load = tokio::spawn(async move {
            for n in 0_u64.. {
                run.log(&format!("{line} {n}\n")).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        Self { organization, id: text(&me, "/data/organization/id"), task, tag, load }
    }

    /// An invitation's token.
    async fn invite(&self, email: &str) -> String {
        let body = json!({ "email": email, "role": "viewer" });
        let answer = call(&self.organization.member, Method::POST, "/api/invitations", Some(&body)).await;
        let link = text(&answer, "/invitation/inviteUrl");
        link.split_once("token=").unwrap().1.to_owned()
    }
}

/// A right to watch: where, and when it ended, which the server had answered by then.
struct Right {
    side: usize,
    ended_ms: Option<i64>,
}

/// Somebody with a dashboard that is never closed.
struct Mover {
    email: String,
    id: String,
    member: Client,
    dashboard: Script,
    /// The first is that of the token the dashboard was started with.
    rights: Vec<Right>,
}

async fn call(client: &Client, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let answer = client.call(method, path, body).await.unwrap();
    assert!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.body);
    answer
}

impl Mover {
    async fn join(stage: &Stage, sides: &[Side; 2], number: usize) -> Self {
        let (email, side) = (format!("mover{number}@pinewood.test"), number % 2);
        let signed_up = sign_up(stage, &sides[side], &email).await;
        let token = text(&signed_up, "/token");
        let options = json!({
            "url": stage.url(), "token": token, "transports": if number == 3 { ["polling"] } else { ["websocket"] },
        });
        Self {
            id: text(&signed_up, "/user/id"),
            member: with_header(&stage.client(), AUTHORIZATION, &format!("Bearer {token}")),
            dashboard: Script::start("dashboard.mjs", &options),
            rights: vec![Right { side, ended_ms: None }],
            email,
        }
    }

    /// The right of before is over, and another token opens `side`.
    async fn goes_on(&mut self, stage: &Stage, answer: &Answer, side: usize) {
        self.ended();
        let token = text(answer, "/token");
        self.id = text(answer, "/user/id");
        self.member = with_header(&stage.client(), AUTHORIZATION, &format!("Bearer {token}"));
        self.rights.push(Right { side, ended_ms: None });
        // Only once the server has closed the old socket does this one ask for a new one.
        let closed = self.rights.len() - 1;
        self.dashboard.until_event("disconnect", closed).await;
        self.dashboard.order(json!({ "do": "token", "token": token })).await;
        self.dashboard.order(json!({ "do": "connect" })).await;
        let welcomed = self.rights.len();
        self.dashboard.until_event("auth-success", welcomed).await;
    }

    fn ended(&mut self) {
        let right = self.rights.last_mut().unwrap();
        right.ended_ms = right.ended_ms.or(Some(SystemClock.now_ms()));
    }

    fn side(&self) -> usize {
        self.rights.last().unwrap().side
    }

    async fn log_in(&self, stage: &Stage) -> Answer {
        let body = json!({ "email": self.email, "password": PASSWORD });
        call(&stage.client(), Method::POST, "/api/auth/login", Some(&body)).await
    }

    /// Everything the dashboard was ever told is of the organization whose token it had, and in time.
    fn check(&self, sides: &[Side; 2]) -> BTreeMap<usize, usize> {
        let mut received = BTreeMap::new();
        let mut era = 0;
        for line in &self.dashboard.said {
            if line["event"] == "done" && line["order"] == "token" {
                era += 1;
            }
            if line["args"].is_null() {
                continue;
            }
            let right = &self.rights[era];
            let (own, other) = (&sides[right.side], &sides[1 - right.side]);
            let frame = line.to_string();
            for foreign in [&other.tag, &other.task, &other.id, &other.organization.project] {
                assert!(!frame.contains(foreign), "{} in era {era} of {}: {frame}", foreign, self.email);
            }
            if frame.contains(&own.tag) {
                *received.entry(era).or_default() += 1;
                let at_ms = line["at"].as_i64().unwrap();
                let late_ms = right.ended_ms.map_or(0, |ended_ms| at_ms - ended_ms);
                assert!(late_ms <= GRACE_MS, "{late_ms} ms after the right of {} ended: {frame}", self.email);
            }
        }
        received
    }
}

async fn sign_up(stage: &Stage, side: &Side, email: &str) -> Answer {
    let body = json!({
        "email": email, "password": PASSWORD, "name": email, "inviteToken": side.invite(email).await,
    });
    call(&stage.client(), Method::POST, "/api/auth/signup", Some(&body)).await
}

/// One thing that happens to somebody.
async fn change(stage: &Stage, sides: &[Side; 2], mover: &mut Mover, what: usize) {
    let (here, there) = (mover.side(), 1 - mover.side());
    match what % 5 {
        // Moves.
        0 | 3 => {
            let body = json!({ "token": sides[there].invite(&mover.email).await });
            let accepted = call(&mover.member, Method::POST, "/api/invitations/accept", Some(&body)).await;
            mover.goes_on(stage, &accepted, there).await;
        }
        // Is removed, and signs up on the other side.
        1 => {
            let path = format!("/api/users/{}", mover.id);
            call(&sides[here].organization.member, Method::DELETE, &path, None).await;
            mover.ended();
            let signed_up = sign_up(stage, &sides[there], &mover.email).await;
            mover.goes_on(stage, &signed_up, there).await;
        }
        2 => {
            call(&mover.member, Method::POST, "/api/auth/logout", None).await;
            mover.ended();
            let logged_in = mover.log_in(stage).await;
            mover.goes_on(stage, &logged_in, here).await;
        }
        _ => {
            let body = json!({ "currentPassword": PASSWORD, "newPassword": PASSWORD });
            let changed = call(&mover.member, Method::POST, "/api/auth/change-password", Some(&body)).await;
            // Its answer has a token and nobody's name.
            assert!(changed.body["token"].is_string());
            mover.ended();
            let logged_in = mover.log_in(stage).await;
            mover.goes_on(stage, &logged_in, here).await;
        }
    }
}

async fn no_frame_reaches_whom_it_is_not_for_while_membership_changes(beneath: &Beneath) {
    let raised = |settings: &mut runstream::config::Settings| {
        beneath.choose(settings);
        settings.access.tiers.strict.capacity = 1_000_000;
    };
    let stage = Stage::start_with(Arc::new(SystemClock), raised).await;
    let sides = [Side::open(&stage, "birch").await, Side::open(&stage, "cedar").await];
    let mut movers = Vec::new();
    for number in 0..MOVERS {
        movers.push(Mover::join(&stage, &sides, number).await);
    }
    for mover in &mut movers {
        mover.dashboard.until_event("auth-success", 1).await;
        mover.dashboard.until_event("execution-log", 1).await;
    }
    let changes = match (long_mode(), beneath.is_scylla()) {
        (true, _) => 400,
        (false, true) => 10,
        (false, false) => 20,
    };
    for n in 0..changes {
        change(&stage, &sides, &mut movers[n % MOVERS], n / MOVERS + n).await;
    }
    // Nobody announces this one: an operator writes it into the store.
    let mover = &mut movers[0];
    let user = stage.store().user_by_email(&mover.email).await.unwrap().unwrap();
    let suspended = MemberChange::Status(AccountStatus::Suspended);
    let at_ms = SystemClock.now_ms();
    stage.store().change_member(user.org, user.id, suspended, at_ms, None).await.unwrap();
    mover.ended();
    for mover in &mut movers {
        mover.dashboard.listen(Duration::from_millis(1_000)).await;
    }
    let mover = &mut movers[0];
    let ends = mover.rights.len();
    mover.dashboard.until_event("disconnect", ends).await;
    for mover in &mut movers {
        mover.dashboard.listen(Duration::from_millis(500)).await;
    }

    for mover in &movers {
        let received = mover.check(&sides);
        assert!(received.len() >= mover.rights.len() / 2, "most of the time they watch: {received:?}");
        assert!(received.contains_key(&0), "{received:?}");
    }
    for side in sides {
        assert!(!side.load.is_finished(), "the load went on");
        side.load.abort();
    }
}
