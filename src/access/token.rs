//! Tokens of people: HS256 and nothing else, signed and checked on the injected clock.
//! Source: API reference, identity 2.1.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::secrets::Secret;
use crate::clock::UnixMs;
use crate::domain::account::User;
use crate::domain::id::UserId;
use crate::domain::role::Role;
use crate::limits::{TOKEN_BYTES_MAX, TOKEN_CLOCK_SKEW_S};

/// What a token says. Clients treat it as opaque.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Claims {
    /// The person.
    pub(super) user_id: UserId,
    /// The organization when it was issued. Text: an organization is never read from outside, only compared.
    pub(super) organization_id: String,
    /// The role when it was issued; the stored one counts.
    pub(super) role: Role,
    /// Issued; Unix seconds.
    pub(super) iat: i64,
    /// Expires; Unix seconds.
    pub(super) exp: i64,
    /// Not valid before; Unix seconds. This server sets none, and honours one that whoever shares the secret has set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    /// Unique per token.
    pub(super) jti: String,
    /// The account's `credentials_valid_from_ms` when the token was issued. Comparing it is exact where `iat` with its
    /// seconds would let a token pass that was issued just before a password change, or refuse the one just after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    credentials_from: Option<UnixMs>,
}

impl Claims {
    /// When it expires; Unix milliseconds.
    pub(super) fn expires_ms(&self) -> UnixMs {
        self.exp.saturating_mul(1000)
    }

    /// Whether it begins to be valid, or was issued, later than any server's clock may be ahead of this one's.
    fn is_of_the_future(&self, now_ms: UnixMs) -> bool {
        let latest_s = now_ms.div_euclid(1000).saturating_add(TOKEN_CLOCK_SKEW_S);
        self.iat > latest_s || self.nbf.is_some_and(|from_s| from_s > latest_s)
    }

    /// Whether it was issued after the account's older credentials were voided at `valid_from_ms`.
    pub(super) fn is_since(&self, valid_from_ms: UnixMs) -> bool {
        self.credentials_from.unwrap_or(self.iat.saturating_mul(1000)) >= valid_from_ms
    }
}

/// A token that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The text that the client sends.
    pub token: String,
    /// Its `jti`.
    pub id: String,
    /// When it expires; Unix milliseconds.
    pub expires_ms: UnixMs,
}

/// Without the token itself: it is a credential.
impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken").field("id", &self.id).field("expires_ms", &self.expires_ms).finish()
    }
}

/// The token is not one of ours, or is over. Why, is nobody's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid")]
pub(super) struct InvalidToken;

/// Signs and checks tokens.
pub(super) struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

impl Tokens {
    pub(super) fn new(secret: &Secret) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The crate reads the machine's clock; times are checked in `verify` on the injected one. The claims that
        // must be there are those that `Claims` cannot do without.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.required_spec_claims.clear();
        Self {
            signing: EncodingKey::from_secret(secret.expose()),
            checking: DecodingKey::from_secret(secret.expose()),
            validation,
        }
    }

    /// A token for `user` that is valid for `lifetime_s` seconds.
    pub(super) fn sign(
        &self,
        user: &User,
        now_ms: UnixMs,
        lifetime_s: i64,
    ) -> Result<IssuedToken, jsonwebtoken::errors::Error> {
        let iat = now_ms.div_euclid(1000);
        let claims = Claims {
            user_id: user.id,
            organization_id: user.org.to_string(),
            role: user.role,
            iat,
            exp: iat.saturating_add(lifetime_s),
            nbf: None,
            jti: uuid::Uuid::new_v4().to_string(),
            credentials_from: Some(user.credentials_valid_from_ms),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)?;
        Ok(IssuedToken { token, expires_ms: claims.expires_ms(), id: claims.jti })
    }

    /// What the token says, if it is one of ours and not over at `now_ms`.
    pub(super) fn verify(&self, token: &str, now_ms: UnixMs) -> Result<Claims, InvalidToken> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(InvalidToken);
        }
        let read = jsonwebtoken::decode::<Claims>(token, &self.checking, &self.validation);
        let claims = read.map_err(|_| InvalidToken)?.claims;
        if claims.jti.is_empty() || now_ms >= claims.expires_ms() || claims.is_of_the_future(now_ms) {
            return Err(InvalidToken);
        }
        Ok(claims)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::access::secrets::Secret;
    use crate::domain::id::OrgId;
    use crate::domain::role::AccountStatus;

    const NOW_MS: UnixMs = 1_774_000_000_789;

    pub(in crate::access) fn user() -> User {
        User {
            id: UserId::generate(NOW_MS),
            org: OrgId::generate(NOW_MS),
            email: "rosa@pinewood.test".into(),
            name: "Rosa Linde".into(),
            password_hash: String::new(),
            role: Role::Developer,
            status: AccountStatus::Active,
            credentials_valid_from_ms: 0,
            last_login_ms: None,
            created_ms: NOW_MS,
            updated_ms: NOW_MS,
        }
    }

    fn signed_by(secret: &Secret, header: &Header, claims: &serde_json::Value) -> String {
        jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret.expose())).unwrap()
    }

    fn claims_of(user: &User) -> serde_json::Value {
        serde_json::json!({
            "userId": user.id, "organizationId": user.org.to_string(), "role": "admin",
            "iat": NOW_MS / 1000, "exp": NOW_MS / 1000 + 60, "jti": "a-token", "email": user.email,
        })
    }

    #[test]
    fn a_token_carries_the_claims_of_the_contract_until_its_last_millisecond() {
        let tokens = Tokens::new(&Secret::generate());
        let user = user();
        let issued = tokens.sign(&user, NOW_MS, 60).unwrap();
        assert_eq!(issued.expires_ms, 1_774_000_060_000);
        let claims = tokens.verify(&issued.token, 1_774_000_059_999).unwrap();
        assert_eq!((claims.user_id, claims.role), (user.id, Role::Developer));
        assert_eq!((claims.organization_id, claims.jti), (user.org.to_string(), issued.id.clone()));
        assert_eq!((claims.iat, claims.exp), (1_774_000_000, 1_774_000_060));
        assert_eq!(tokens.verify(&issued.token, 1_774_000_060_000), Err(InvalidToken));
        assert_ne!(tokens.sign(&user, NOW_MS, 60).unwrap().id, issued.id, "one jti per token");
        assert!(!format!("{issued:?}").contains(&issued.token));
    }

    #[test]
    fn other_algorithms_secrets_and_shapes_are_refused() {
        let secret = Secret::generate();
        let tokens = Tokens::new(&secret);
        let user = user();
        let good = signed_by(&secret, &Header::new(Algorithm::HS256), &claims_of(&user));
        assert!(tokens.verify(&good, NOW_MS).is_ok(), "the control");

        let other_secret = signed_by(&Secret::generate(), &Header::new(Algorithm::HS256), &claims_of(&user));
        let check_refused = |token: &str, why: &str| {
            assert_eq!(tokens.verify(token, NOW_MS), Err(InvalidToken), "{why}");
        };
        check_refused(&other_secret, "another secret");
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            check_refused(&signed_by(&secret, &Header::new(algorithm), &claims_of(&user)), "another hash");
        }
        // The same signature under headers that claim something else.
        let (_, rest) = good.split_once('.').unwrap();
        let (payload, signature) = rest.split_once('.').unwrap();
        let headers = [
            ("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0", "alg none"),
            ("eyJhbGciOiJOb05lIn0", "alg NoNe"),
            ("eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9", "alg RS256"),
            ("eyJhbGciOiJFUzI1NiJ9", "alg ES256"),
            ("e30", "no alg"),
        ];
        for (header, why) in headers {
            check_refused(&format!("{header}.{payload}.{signature}"), why);
            check_refused(&format!("{header}.{payload}."), why);
            check_refused(&format!("{header}.{payload}"), why);
        }
        let tampered = signature.replacen(|c| c != 'A', "A", 1);
        check_refused(&good.replace(signature, &tampered), "another signature");
        check_refused(&format!("{good}.{signature}"), "a fourth part");
        for text in
            ["", ".", "..", "...", "a.b.c", "pk_live_7c1d9a04e2b85f6630c1aa97d4be58213f0e6b7a915cd284"]
        {
            check_refused(text, text);
        }
    }

    #[test]
    fn no_character_of_a_token_can_be_changed() {
        let tokens = Tokens::new(&Secret::generate());
        let good = tokens.sign(&user(), NOW_MS, 60).unwrap().token;
        assert!(tokens.verify(&good, NOW_MS).is_ok(), "the control");
        for at in 0..good.len() {
            for other in ["A", "Q", "g", "_", ".", " "] {
                let (head, tail) = (&good[..at], &good[at + 1..]);
                let changed = format!("{head}{other}{tail}");
                if changed != good {
                    assert_eq!(tokens.verify(&changed, NOW_MS), Err(InvalidToken), "{other:?} at {at}");
                }
            }
            assert_eq!(tokens.verify(&good[..at], NOW_MS), Err(InvalidToken), "cut at {at}");
        }
    }

    #[test]
    fn each_required_claim_is_required_and_a_huge_token_is_not_even_read() {
        let secret = Secret::generate();
        let tokens = Tokens::new(&secret);
        let sign = |claims: &serde_json::Value| signed_by(&secret, &Header::new(Algorithm::HS256), claims);
        for claim in ["userId", "organizationId", "role", "iat", "exp", "jti"] {
            let mut claims = claims_of(&user());
            claims.as_object_mut().unwrap().remove(claim);
            assert_eq!(tokens.verify(&sign(&claims), NOW_MS), Err(InvalidToken), "without {claim}");
        }
        for (claim, value) in [("exp", "soon".into()), ("jti", "".into()), ("userId", "X".into())] {
            let mut claims = claims_of(&user());
            claims.as_object_mut().unwrap().insert(claim.into(), value);
            assert_eq!(tokens.verify(&sign(&claims), NOW_MS), Err(InvalidToken), "with a wrong {claim}");
        }
        let mut claims = claims_of(&user());
        claims.as_object_mut().unwrap().insert("email".into(), "x".repeat(TOKEN_BYTES_MAX).into());
        assert_eq!(tokens.verify(&sign(&claims), NOW_MS), Err(InvalidToken), "oversized");
    }

    #[test]
    fn credentials_voided_in_the_same_second_are_told_apart() {
        let tokens = Tokens::new(&Secret::generate());
        let mut user = user();
        let before = tokens.sign(&user, NOW_MS, 60).unwrap();
        user.credentials_valid_from_ms = NOW_MS + 1;
        let after = tokens.sign(&user, NOW_MS + 1, 60).unwrap();
        let is_since = |issued: &IssuedToken| {
            tokens.verify(&issued.token, NOW_MS + 1).unwrap().is_since(user.credentials_valid_from_ms)
        };
        assert_eq!((is_since(&before), is_since(&after)), (false, true));
    }
}
