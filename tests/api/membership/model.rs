//! Who is a member of what, as vectors: accounts, the tokens and keys that were ever handed out, and invitations.

use runstream::domain::role::Role;

/// People of a case; each has one e-mail address.
pub(super) const PEOPLE: usize = 5;

/// One after the other, a person may have several accounts: a removed member's address is free again.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) who: usize,
    pub(super) id: String,
    pub(super) org: String,
    pub(super) role: Role,
    pub(super) suspended: bool,
    pub(super) removed: bool,
}

/// A token or a key; `ended` once it was taken away for good.
#[derive(Debug, Clone)]
pub(super) struct Credential {
    pub(super) account: usize,
    pub(super) text: String,
    /// A key's id; a token has none.
    pub(super) id: Option<String>,
    pub(super) ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    Pending,
    Accepted,
    Revoked,
}

#[derive(Debug, Clone)]
pub(super) struct Invitation {
    pub(super) org: String,
    pub(super) whom: usize,
    pub(super) role: Role,
    pub(super) token: String,
    pub(super) id: String,
    pub(super) offer: Offer,
}

/// What a credential opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opens {
    Nothing,
    /// A token whose account is suspended says so.
    Suspended,
    As {
        org: String,
        role: Role,
    },
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) accounts: Vec<Account>,
    pub(super) tokens: Vec<Credential>,
    pub(super) keys: Vec<Credential>,
    pub(super) invitations: Vec<Invitation>,
    /// Organizations with the name of their only project.
    pub(super) projects: Vec<(String, String)>,
}

impl Model {
    /// The number of a person's account, if there is one now.
    pub(super) fn account_of(&self, who: usize) -> Option<usize> {
        self.accounts.iter().position(|account| account.who == who && !account.removed)
    }

    /// The number of the token that a person got last, with that of the account, whether it is good or not.
    pub(super) fn token_of(&self, who: usize) -> Option<usize> {
        let account = self.account_of(who)?;
        self.tokens.iter().rposition(|token| token.account == account)
    }

    pub(super) fn token(&self, token: &Credential) -> Opens {
        let account = &self.accounts[token.account];
        match account {
            _ if token.ended || account.removed => Opens::Nothing,
            account if account.suspended => Opens::Suspended,
            account => Opens::As { org: account.org.clone(), role: account.role },
        }
    }

    /// A key of a suspended member is no key.
    pub(super) fn key(&self, key: &Credential) -> Opens {
        match self.token(key) {
            Opens::Suspended => Opens::Nothing,
            opens => opens,
        }
    }

    pub(super) fn members<'m>(&'m self, org: &'m str) -> impl Iterator<Item = &'m Account> {
        self.accounts.iter().filter(move |account| account.org == org && !account.removed)
    }

    /// Whether an organization would have no active administrator without this account, and has one with it.
    pub(super) fn is_last_admin(&self, account: usize) -> bool {
        let asked = &self.accounts[account];
        let is_admin = |account: &Account| account.role == Role::Admin && !account.suspended;
        let others = self.members(&asked.org).filter(|other| other.id != asked.id);
        is_admin(asked) && !others.into_iter().any(is_admin)
    }

    /// Whether somebody may redeem an invitation: that of an organization which everybody has left leads nowhere.
    pub(super) fn is_good(&self, invitation: &Invitation, who: usize) -> bool {
        let is_for_them = invitation.whom == who && invitation.offer == Offer::Pending;
        is_for_them && self.members(&invitation.org).next().is_some()
    }

    /// Whether an organization has a pending invitation for somebody.
    pub(super) fn is_invited(&self, org: &str, whom: usize) -> bool {
        self.pending(org).any(|invitation| invitation.whom == whom)
    }

    pub(super) fn pending<'m>(&'m self, org: &'m str) -> impl Iterator<Item = &'m Invitation> {
        let invitations = self.invitations.iter();
        invitations.filter(move |invitation| invitation.org == org && invitation.offer == Offer::Pending)
    }

    pub(super) fn sign_up(&mut self, who: usize, id: String, org: String, role: Role, token: String) {
        self.accounts.push(Account { who, id, org, role, suspended: false, removed: false });
        self.logged_in(self.accounts.len() - 1, token);
    }

    pub(super) fn logged_in(&mut self, account: usize, token: String) {
        self.tokens.push(Credential { account, text: token, id: None, ended: false });
    }

    /// Everything handed out to an account before is worth nothing.
    pub(super) fn revoke_all(&mut self, account: usize) {
        for credential in self.tokens.iter_mut().chain(&mut self.keys) {
            credential.ended |= credential.account == account;
        }
    }
}
