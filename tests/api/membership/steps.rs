//! What people do: each step is taken on the server and on the model, and both have to say the same.

use proptest::prelude::{Just, Strategy};
use proptest::{prop_oneof, sample};
use runstream::domain::member::MemberChange;
use runstream::domain::role::{AccountStatus, Role};
use serde_json::{Value, json};

use super::model::{Invitation, Model, Offer, Opens, PEOPLE};
use crate::support::site::{Answer, NOW_MS, PASSWORD, Site};

/// One step; numbers beyond what there is wrap around, and a step without what it needs is none.
#[derive(Debug, Clone)]
pub(super) enum Step {
    SignUp { who: usize },
    Invite { by: usize, whom: usize, role: Role },
    Withdraw { by: usize, nth: usize },
    SignUpInvited { who: usize, nth: usize },
    Accept { who: usize, nth: usize },
    ChangeRole { by: usize, whom: usize, role: Role },
    Remove { by: usize, whom: usize },
    Suspend { whom: usize },
    Restore { whom: usize },
    CreateKey { who: usize },
    RevokeKey { by: usize, nth: usize },
    LogIn { who: usize },
    LogOut { who: usize },
    ChangePassword { who: usize },
}

impl Step {
    pub(super) fn any() -> impl Strategy<Value = Self> {
        let roles = || sample::select(vec![Role::Viewer, Role::Developer, Role::Admin]);
        prop_oneof![
            1 => (0..PEOPLE).prop_map(|who| Self::SignUp { who }),
            4 => (0..PEOPLE, 0..PEOPLE, roles()).prop_map(|(by, whom, role)| Self::Invite { by, whom, role }),
            1 => (0..PEOPLE, 0..99usize).prop_map(|(by, nth)| Self::Withdraw { by, nth }),
            2 => (0..PEOPLE, 0..99usize).prop_map(|(who, nth)| Self::SignUpInvited { who, nth }),
            4 => (0..PEOPLE, 0..99usize).prop_map(|(who, nth)| Self::Accept { who, nth }),
            3 => (0..PEOPLE, 0..PEOPLE, roles()).prop_map(|(by, whom, role)| Self::ChangeRole { by, whom, role }),
            2 => (0..PEOPLE, 0..PEOPLE).prop_map(|(by, whom)| Self::Remove { by, whom }),
            2 => (0..PEOPLE).prop_map(|whom| Self::Suspend { whom }),
            2 => (0..PEOPLE).prop_map(|whom| Self::Restore { whom }),
            2 => (0..PEOPLE).prop_map(|who| Self::CreateKey { who }),
            1 => (0..PEOPLE, 0..99usize).prop_map(|(by, nth)| Self::RevokeKey { by, nth }),
            2 => (0..PEOPLE).prop_map(|who| Self::LogIn { who }),
            1 => (0..PEOPLE).prop_map(|who| Self::LogOut { who }),
            1 => (0..PEOPLE).prop_map(|who| Self::ChangePassword { who }),
            1 => Just(Self::LogIn { who: 0 }),
        ]
    }
}

/// A sequence of steps by people whose names no other case has.
pub(super) struct Case<'s> {
    pub(super) site: &'s Site,
    pub(super) number: u32,
    pub(super) model: Model,
}

/// Somebody who holds a token, and what it opens.
struct Actor {
    account: usize,
    token: String,
    opens: Opens,
}

impl Case<'_> {
    /// An address of somebody in this case.
    fn email(&self, who: usize) -> String {
        format!("p{who}-{}@pinewood.test", self.number)
    }

    fn actor(&self, who: usize) -> Option<Actor> {
        let token = self.model.tokens.get(self.model.token_of(who)?)?;
        Some(Actor { account: token.account, token: token.text.clone(), opens: self.model.token(token) })
    }

    /// Takes the step; whatever it is refused for is refused for the reason the model has.
    pub(super) async fn take(&mut self, step: &Step) {
        match *step {
            Step::SignUp { who } => self.sign_up(who, None).await,
            Step::SignUpInvited { who, nth } => {
                if let Some(invitation) = self.nth_invitation(nth) {
                    self.sign_up(who, Some(invitation)).await;
                }
            }
            Step::Invite { by, whom, role } => self.invite(by, whom, role).await,
            Step::Withdraw { by, nth } => self.withdraw(by, nth).await,
            Step::Accept { who, nth } => self.accept(who, nth).await,
            Step::ChangeRole { by, whom, role } => self.change_role(by, whom, role).await,
            Step::Remove { by, whom } => self.remove(by, whom).await,
            Step::Suspend { whom } => self.set_suspended(whom, true).await,
            Step::Restore { whom } => self.set_suspended(whom, false).await,
            Step::CreateKey { who } => self.create_key(who).await,
            Step::RevokeKey { by, nth } => self.revoke_key(by, nth).await,
            Step::LogIn { who } => self.log_in(who).await,
            Step::LogOut { who } => self.log_out(who).await,
            Step::ChangePassword { who } => self.change_password(who).await,
        }
    }

    fn nth_invitation(&self, nth: usize) -> Option<usize> {
        nth.checked_rem(self.model.invitations.len())
    }

    async fn sign_up(&mut self, who: usize, invitation: Option<usize>) {
        let mut body = json!({ "email": self.email(who), "password": PASSWORD, "name": format!("P {who}") });
        match invitation {
            Some(nth) => body["inviteToken"] = json!(self.model.invitations[nth].token),
            None => body["organizationName"] = json!(format!("Labs {who} {}", self.number)),
        }
        let asked = self.site.post("/api/auth/signup").from(&self.site.new_address()).json(&body);
        let answer = asked.send().await;
        if self.model.account_of(who).is_some() {
            assert_eq!(answer.failure(), (409, "Email already registered".to_owned()));
            return;
        }
        let invited = invitation.map(|nth| self.model.invitations[nth].clone());
        if invited.as_ref().is_some_and(|one| !self.model.is_good(one, who)) {
            assert_eq!(answer.failure(), (400, "Invalid invitation token".to_owned()));
            return;
        }
        let body = answer.expect(201);
        let (id, org) = (text(&body["user"]["id"]), text(&body["user"]["organizationId"]));
        let role = invited.as_ref().map_or(Role::Admin, |invited| invited.role);
        assert_eq!(body["user"]["role"], json!(role));
        let token = text(&body["token"]);
        self.model.sign_up(who, id, org.clone(), role, token.clone());
        if let Some(nth) = invitation {
            assert_eq!(org, self.model.invitations[nth].org);
            self.model.invitations[nth].offer = Offer::Accepted;
        } else {
            let name = format!("Shop {who} {}", self.model.projects.len());
            let asked = self.site.post("/api/projects").token(&token).json(&json!({ "name": name }));
            asked.send().await.expect(201);
            self.model.projects.push((org, name));
        }
    }

    async fn invite(&mut self, by: usize, whom: usize, role: Role) {
        let Some(actor) = self.actor(by) else { return };
        let body = json!({ "email": self.email(whom), "role": role });
        let answer = self.site.post("/api/invitations").token(&actor.token).json(&body).send().await;
        let Some(org) = administrator(&actor, &answer) else { return };
        if self.model.members(&org).any(|member| member.who == whom) {
            assert_eq!(answer.failure(), (409, "User already in organization".to_owned()));
        } else if self.model.is_invited(&org, whom) {
            assert_eq!(answer.failure(), (409, "Invitation already sent".to_owned()));
        } else {
            let body = &answer.expect(201)["invitation"];
            assert_eq!(body["userExists"], self.model.account_of(whom).is_some());
            let token = text(&body["inviteUrl"]).split_once("token=").unwrap().1.to_owned();
            let id = text(&body["id"]);
            self.model.invitations.push(Invitation { org, whom, role, token, id, offer: Offer::Pending });
        }
    }

    async fn withdraw(&mut self, by: usize, nth: usize) {
        let (Some(actor), Some(nth)) = (self.actor(by), self.nth_invitation(nth)) else { return };
        let path = format!("/api/invitations/{}", self.model.invitations[nth].id);
        let answer = self.site.delete(&path).token(&actor.token).send().await;
        let Some(org) = administrator(&actor, &answer) else { return };
        let invitation = &mut self.model.invitations[nth];
        if invitation.org == org && invitation.offer == Offer::Pending {
            answer.expect(200);
            invitation.offer = Offer::Revoked;
        } else {
            assert_eq!(answer.failure(), (404, "Invitation not found".to_owned()));
        }
    }

    async fn accept(&mut self, who: usize, nth: usize) {
        let (Some(actor), Some(nth)) = (self.actor(who), self.nth_invitation(nth)) else { return };
        let invitation = self.model.invitations[nth].clone();
        let asked = self.site.post("/api/invitations/accept").token(&actor.token);
        let answer = asked.json(&json!({ "token": invitation.token })).send().await;
        let Some((org, _)) = welcome(&actor, &answer) else { return };
        if !self.model.is_good(&invitation, who) {
            // Which of two reasons is told first is nothing that this is about.
            let (status, error) = answer.failure();
            let reasons = ["Email mismatch", "Invalid or expired invitation", "User already in organization"];
            assert!(
                [403, 404, 409].contains(&status) && reasons.contains(&error.as_str()),
                "{status} {error}"
            );
        } else if self.model.is_last_admin(actor.account) && self.model.members(&org).count() > 1 {
            assert_eq!(answer.failure(), (409, "Cannot leave as last admin".to_owned()));
        } else {
            let token = text(&answer.expect(200)["token"]);
            self.model.revoke_all(actor.account);
            let account = &mut self.model.accounts[actor.account];
            account.org.clone_from(&invitation.org);
            account.role = invitation.role;
            self.model.invitations[nth].offer = Offer::Accepted;
            self.model.logged_in(actor.account, token);
        }
    }

    async fn change_role(&mut self, by: usize, whom: usize, role: Role) {
        let (Some(actor), Some(target)) = (self.actor(by), self.model.account_of(whom)) else { return };
        let path = format!("/api/users/{}/role", self.model.accounts[target].id);
        let answer = self.site.patch(&path).token(&actor.token).json(&json!({ "role": role })).send().await;
        let Some(org) = administrator(&actor, &answer) else { return };
        if self.model.accounts[target].org != org {
            assert_eq!(answer.failure(), (404, "User not found".to_owned()));
        } else if target == actor.account {
            assert_eq!(answer.failure(), (403, "Cannot change own role".to_owned()));
        } else {
            answer.expect(200);
            self.model.accounts[target].role = role;
        }
    }

    async fn remove(&mut self, by: usize, whom: usize) {
        let (Some(actor), Some(target)) = (self.actor(by), self.model.account_of(whom)) else { return };
        let path = format!("/api/users/{}", self.model.accounts[target].id);
        let answer = self.site.delete(&path).token(&actor.token).send().await;
        let Some(org) = administrator(&actor, &answer) else { return };
        if self.model.accounts[target].org != org {
            assert_eq!(answer.failure(), (404, "User not found".to_owned()));
        } else if target == actor.account {
            assert_eq!(answer.failure(), (403, "Cannot delete yourself".to_owned()));
        } else {
            answer.expect(200);
            self.model.accounts[target].removed = true;
        }
    }

    /// As an operator does it.
    async fn set_suspended(&mut self, whom: usize, suspended: bool) {
        let Some(target) = self.model.account_of(whom) else { return };
        let user = self.site.store().user_by_email(&self.email(whom)).await.unwrap().unwrap();
        let status = if suspended { AccountStatus::Suspended } else { AccountStatus::Active };
        let change = MemberChange::Status(status);
        let changed = self.site.store().change_member(user.org, user.id, change, NOW_MS, None).await;
        let is_refused = suspended && self.model.is_last_admin(target);
        assert_eq!(changed.is_err(), is_refused, "{changed:?}");
        self.model.accounts[target].suspended = if is_refused { false } else { suspended };
        // A server may answer from what it knew up to five seconds ago.
        self.site.advance(5);
    }

    async fn create_key(&mut self, who: usize) {
        let Some(actor) = self.actor(who) else { return };
        let answer = self.site.post("/api/auth/api-keys").token(&actor.token).send().await;
        if welcome(&actor, &answer).is_some() {
            let body = answer.expect(201);
            let id = Some(text(&body["data"]["id"]));
            let text = text(&body["apiKey"]);
            self.model.keys.push(super::Credential { account: actor.account, text, id, ended: false });
        }
    }

    async fn revoke_key(&mut self, by: usize, nth: usize) {
        let Some(nth) = nth.checked_rem(self.model.keys.len()) else { return };
        let Some(actor) = self.actor(by) else { return };
        let key = self.model.keys[nth].clone();
        let path = format!("/api/auth/api-keys/{}", key.id.as_ref().unwrap());
        let answer = self.site.delete(&path).token(&actor.token).send().await;
        let Some((org, role)) = welcome(&actor, &answer) else { return };
        let owner = &self.model.accounts[key.account];
        let is_there = !key.ended && !owner.removed && owner.org == org;
        if is_there && (key.account == actor.account || role == Role::Admin) {
            answer.expect(200);
            self.model.keys[nth].ended = true;
        } else {
            assert_eq!(answer.failure(), (404, "API key not found".to_owned()));
        }
    }

    async fn log_in(&mut self, who: usize) {
        let body = json!({ "email": self.email(who), "password": PASSWORD });
        let asked = self.site.post("/api/auth/login").from(&self.site.new_address()).json(&body);
        let answer = asked.send().await;
        let Some(account) = self.model.account_of(who) else {
            // The locking of addresses has tests of its own.
            assert!([401, 429].contains(&answer.status), "{answer:?}");
            return;
        };
        if answer.status == 429 {
            return;
        }
        if self.model.accounts[account].suspended {
            assert_eq!(answer.failure(), (403, "Account suspended".to_owned()));
        } else {
            self.model.logged_in(account, text(&answer.expect(200)["token"]));
        }
    }

    async fn log_out(&mut self, who: usize) {
        let Some(actor) = self.actor(who) else { return };
        let answer = self.site.post("/api/auth/logout").token(&actor.token).send().await;
        if welcome(&actor, &answer).is_some() {
            answer.expect(200);
            let token = self.model.token_of(who).unwrap();
            self.model.tokens[token].ended = true;
        }
    }

    /// To the same one: what counts is that it was changed.
    async fn change_password(&mut self, who: usize) {
        let Some(actor) = self.actor(who) else { return };
        let body = json!({ "currentPassword": PASSWORD, "newPassword": PASSWORD });
        let answer = self.site.post("/api/auth/change-password").token(&actor.token).json(&body).send().await;
        if welcome(&actor, &answer).is_some() {
            let token = text(&answer.expect(200)["token"]);
            self.model.revoke_all(actor.account);
            self.model.logged_in(actor.account, token);
        }
    }
}

/// Organization and role of who asked; `None` if the token opens nothing and the answer says so.
fn welcome(actor: &Actor, answer: &Answer) -> Option<(String, Role)> {
    match &actor.opens {
        Opens::As { org, role } => return Some((org.clone(), *role)),
        Opens::Nothing => assert_eq!(answer.failure(), (401, "Invalid token".to_owned())),
        Opens::Suspended => assert_eq!(answer.failure(), (403, "Account suspended".to_owned())),
    }
    None
}

/// Like [`welcome`], for what only administrators may.
fn administrator(actor: &Actor, answer: &Answer) -> Option<String> {
    let (org, role) = welcome(actor, answer)?;
    if role != Role::Admin {
        assert_eq!(answer.failure(), (403, "Insufficient permissions".to_owned()));
        return None;
    }
    Some(org)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
