//! Bodies in and out of the category `auth`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::extract::{FromMembers, Members};
use crate::api::person::Person;
use crate::domain::account::{Organization, User};
use crate::domain::plan::{Plan, PlanLimits};
use crate::domain::reset::ResetToken;
use crate::domain::role::{AccountStatus, Role};
use crate::domain::time::IsoMs;
use crate::domain::{email, password};
use crate::http::Failure;

/// Characters of a person's or a key's name.
pub(super) const NAME_CHARS_MAX: usize = 100;
/// Characters of an organization's name, after trimming.
const ORGANIZATION_CHARS: std::ops::RangeInclusive<usize> = 2..=100;

/// Who signs up, checked: texts are trimmed, the address is in its stored form.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SignUp {
    /// Unique over the whole system, without regard to case.
    #[schema(format = "email", max_length = 254)]
    pub(in crate::api) email: String,
    /// With a lower-case letter, an upper-case letter, a digit and a special character.
    #[schema(format = "password", min_length = 8, max_length = 128)]
    pub(in crate::api) password: String,
    /// The person's name.
    #[schema(min_length = 1, max_length = 100)]
    pub(in crate::api) name: String,
    /// The new organization's name; not needed with an invitation.
    #[schema(min_length = 2, max_length = 100)]
    pub(in crate::api) organization_name: Option<String>,
    /// An invitation to an organization.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(super) invite_token: Option<String>,
}

impl FromMembers for SignUp {
    fn from_members(members: Members) -> Result<Self, Failure> {
        let given = |name: &str| members.get(name).filter(|value| !is_blank(value));
        let invite_token = given("inviteToken");
        let organization = given("organizationName");
        let (Some(address), Some(secret), Some(name)) = (given("email"), given("password"), given("name"))
        else {
            return Err(missing_fields());
        };
        if organization.is_none() && invite_token.is_none() {
            return Err(missing_fields());
        }
        let email = address.as_str().and_then(email::normalise).ok_or_else(invalid_email)?;
        let password = strong_password(secret)?;
        let name = name.as_str().map(str::trim).filter(|name| name.chars().count() <= NAME_CHARS_MAX);
        let name = name.ok_or_else(|| invalid_name("Your name must be a text of 1 to 100 characters"))?;
        let organization_name = match organization {
            // With an invitation it is that organization's name that counts.
            Some(_) if invite_token.is_some() => None,
            Some(organization) => Some(organization_name(organization)?),
            None => None,
        };
        let invite_token = invite_token.map(|token| token.as_str().unwrap_or_default().to_owned());
        Ok(Self { email, password, name: name.to_owned(), organization_name, invite_token })
    }
}

/// Who logs in. Not trimmed: what is not an address is an unknown one.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub(super) struct LogIn {
    /// The address of the account.
    pub(super) email: String,
    /// Its password.
    #[schema(format = "password")]
    pub(super) password: String,
}

impl FromMembers for LogIn {
    fn from_members(mut members: Members) -> Result<Self, Failure> {
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        match (text("email"), text("password")) {
            (Some(email), Some(password)) => Ok(Self { email, password }),
            _ => Err(Failure::bad_request("Missing credentials", "E-mail address and password are needed")),
        }
    }
}

/// What people change of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub(super) struct Profile {
    /// Trimmed.
    #[schema(min_length = 1, max_length = 100)]
    pub(super) name: String,
}

impl FromMembers for Profile {
    fn from_members(members: Members) -> Result<Self, Failure> {
        let name = members.get("name").and_then(Value::as_str).ok_or_else(Self::absent)?.trim();
        if (1..=NAME_CHARS_MAX).contains(&name.chars().count()) {
            Ok(Self { name: name.to_owned() })
        } else {
            Err(invalid_name("Your name must be a text of 1 to 100 characters"))
        }
    }

    fn absent() -> Failure {
        Failure::bad_request("Missing required field", "The field name is needed, a text")
    }
}

/// The password that is to replace the current one. Not trimmed.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewPassword {
    /// The one of now.
    #[schema(format = "password")]
    pub(super) current_password: String,
    /// With a lower-case letter, an upper-case letter, a digit and a special character.
    #[schema(format = "password", min_length = 8, max_length = 128)]
    pub(super) new_password: String,
}

impl FromMembers for NewPassword {
    fn from_members(members: Members) -> Result<Self, Failure> {
        let current = members.get("currentPassword").and_then(Value::as_str).filter(|text| !text.is_empty());
        let new = members.get("newPassword").filter(|value| !is_blank(value));
        let (Some(current), Some(new)) = (current, new) else { return Err(Self::absent()) };
        Ok(Self { current_password: current.to_owned(), new_password: strong_password(new)? })
    }

    fn absent() -> Failure {
        let message = "currentPassword and newPassword are needed";
        Failure::bad_request("Missing required fields", message)
    }
}

/// Who has forgotten the password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
pub(super) struct ForgottenPassword {
    /// The address of the account, if there is one.
    #[schema(format = "email", max_length = 254)]
    pub(super) email: String,
}

impl FromMembers for ForgottenPassword {
    fn from_members(members: Members) -> Result<Self, Failure> {
        let email = members.get("email").and_then(Value::as_str).and_then(email::normalise);
        email.map(|email| Self { email }).ok_or_else(invalid_email)
    }
}

/// The password that is to replace a forgotten one. Not trimmed.
#[derive(Clone, PartialEq, Eq, ToSchema)]
pub(super) struct PasswordOfReset {
    /// From the letter's link.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub(super) token: ResetToken,
    /// With a lower-case letter, an upper-case letter, a digit and a special character.
    #[schema(format = "password", min_length = 8, max_length = 128)]
    pub(super) password: String,
}

impl FromMembers for PasswordOfReset {
    fn from_members(members: Members) -> Result<Self, Failure> {
        let token = members.get("token").and_then(Value::as_str).and_then(ResetToken::read);
        let token = token.ok_or_else(invalid_reset)?;
        Ok(Self { token, password: strong_password(members.get("password").unwrap_or(&Value::Null))? })
    }
}

/// A person after a change.
#[derive(Serialize, ToSchema)]
pub(super) struct ProfileChanged {
    pub(super) message: &'static str,
    pub(super) user: Person,
}

/// A token made after the password was changed.
#[derive(Serialize, ToSchema)]
pub(super) struct PasswordChanged {
    pub(super) message: &'static str,
    /// For `Authorization: Bearer`; all earlier ones are void.
    pub(super) token: String,
}

/// A token and whose it is.
#[derive(Serialize, ToSchema)]
pub(super) struct SignedIn {
    /// For `Authorization: Bearer`.
    token: String,
    user: SignedInUser,
}

/// Who has signed in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct SignedInUser {
    #[schema(value_type = String, pattern = "^[0-9a-f]{24}$")]
    id: String,
    email: String,
    name: String,
    role: Role,
    #[schema(pattern = "^[0-9a-f]{24}$")]
    organization_id: String,
    organization_name: String,
}

impl SignedIn {
    /// `organization_name` is `None` if the organization's record is missing.
    pub(super) fn new(token: String, user: User, organization_name: Option<String>) -> Self {
        Self { token, user: SignedInUser::new(user, organization_name) }
    }
}

impl SignedInUser {
    /// `organization_name` is `None` if the organization's record is missing.
    pub(in crate::api) fn new(user: User, organization_name: Option<String>) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email,
            name: user.name,
            role: user.role,
            organization_id: user.org.to_string(),
            organization_name: organization_name.unwrap_or_else(|| "Unknown Organization".to_owned()),
        }
    }
}

/// The caller's account and organization.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Me {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    id: String,
    email: String,
    name: String,
    role: Role,
    status: AccountStatus,
    last_login_at: Option<IsoMs>,
    organization: OwnOrganization,
}

/// The caller's organization.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OwnOrganization {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    id: String,
    name: String,
    slug: String,
    plan: Plan,
    limits: PlanLimits,
    user_count: u64,
    user_limit: u64,
    ai_analysis_enabled: bool,
}

impl Me {
    pub(super) fn new(user: User, organization: Organization, plan: Plan, user_count: u64) -> Self {
        let limits = plan.limits();
        let organization = OwnOrganization {
            id: organization.id.to_string(),
            name: organization.name,
            slug: organization.slug,
            plan,
            limits,
            user_count,
            user_limit: limits.max_users,
            ai_analysis_enabled: organization.ai_analysis_enabled,
        };
        Self {
            id: user.id.to_string(),
            email: user.email,
            name: user.name,
            role: user.role,
            status: user.status,
            last_login_at: user.last_login_ms.map(IsoMs),
            organization,
        }
    }
}

/// Whether a value counts as not given: nothing, or a text of nothing but blanks.
fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

pub(in crate::api) fn strong_password(value: &Value) -> Result<String, Failure> {
    let weak = |message: String| Failure::bad_request("Weak password", message);
    let text = value.as_str().ok_or_else(|| weak("The password must be a text".to_owned()))?;
    let broken = password::broken_rules(text);
    if broken.is_empty() {
        Ok(text.to_owned())
    } else {
        Err(weak(format!("The password {}", broken.join(", "))))
    }
}

fn organization_name(value: &Value) -> Result<String, Failure> {
    let name =
        value.as_str().map(str::trim).filter(|name| ORGANIZATION_CHARS.contains(&name.chars().count()));
    name.map(str::to_owned).ok_or_else(|| {
        let message = "The organization's name must be a text of 2 to 100 characters";
        Failure::bad_request("Invalid organization name", message)
    })
}

fn missing_fields() -> Failure {
    let message = "email, password, name and organizationName (or inviteToken) are needed";
    Failure::bad_request("Missing required fields", message)
}

fn invalid_email() -> Failure {
    Failure::bad_request("Invalid email format", "The e-mail address is not a valid one")
}

/// The same for every cause: nobody learns by it which tokens there are.
pub(super) fn invalid_reset() -> Failure {
    let message = "The link is not valid, was used, or has expired; ask for a new one";
    Failure::bad_request("Invalid reset token", message)
}

pub(super) fn invalid_name(message: &'static str) -> Failure {
    Failure::bad_request("Invalid name", message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T: FromMembers>(body: Value) -> Result<T, String> {
        let Value::Object(members) = body else { panic!("{body} is no object") };
        T::from_members(members).map_err(|failure| failure.error.into_owned())
    }

    fn with(changes: Value) -> Value {
        let mut body = json!({
            "email": "Rosa@Pinewood.test", "password": "Abcdef1!", "name": " Rosa Linde ",
            "organizationName": " Pinewood Labs ",
        });
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    #[test]
    fn a_good_sign_up_is_trimmed_and_the_address_in_lower_case() {
        let form = read::<SignUp>(with(json!({}))).unwrap();
        assert_eq!((form.email.as_str(), form.name.as_str()), ("rosa@pinewood.test", "Rosa Linde"));
        assert_eq!((form.organization_name.as_deref(), form.invite_token), (Some("Pinewood Labs"), None));
        let invited = json!({ "inviteToken": "ab", "organizationName": "" });
        let form = read::<SignUp>(with(invited)).unwrap();
        assert_eq!((form.organization_name, form.invite_token.as_deref()), (None, Some("ab")));
        let invited = json!({ "inviteToken": 7, "organizationName": 7 });
        assert_eq!(read::<SignUp>(with(invited)).unwrap().invite_token.as_deref(), Some(""));
    }

    #[test]
    fn the_first_broken_rule_of_a_sign_up_is_told() {
        let check = |changes: Value, error: &str| {
            assert_eq!(read::<SignUp>(with(changes.clone())).err().as_deref(), Some(error), "{changes}");
        };
        for name in ["email", "password", "name", "organizationName"] {
            for nothing in [json!(null), json!(""), json!("  ")] {
                check(json!({ (name): nothing }), "Missing required fields");
            }
        }
        for email in [json!(7), json!("rosa"), json!("rosa@pinewood"), json!(["rosa@pinewood.test"])] {
            check(json!({ "email": email }), "Invalid email format");
        }
        for password in [json!(12_345_678), json!("abcdef1!"), json!({})] {
            check(json!({ "password": password, "name": 7 }), "Weak password");
        }
        check(json!({ "name": 7 }), "Invalid name");
        check(json!({ "name": "x".repeat(101) }), "Invalid name");
        assert!(read::<SignUp>(with(json!({ "name": "é".repeat(100) }))).is_ok());
        for name in [json!(7), json!("x"), json!("x".repeat(101)), json!(["ab"])] {
            check(json!({ "organizationName": name }), "Invalid organization name");
        }
    }

    #[test]
    fn credentials_are_two_texts() {
        let good = json!({ "email": " A@b.c", "password": " " });
        assert_eq!(read::<LogIn>(good).unwrap().email, " A@b.c");
        for bad in [
            json!({}),
            json!({ "email": "a@b.c" }),
            json!({ "email": "", "password": "x" }),
            json!({ "email": 7, "password": "x" }),
            json!({ "email": "a@b.c", "password": null }),
        ] {
            assert_eq!(read::<LogIn>(bad).err().as_deref(), Some("Missing credentials"));
        }
    }

    #[test]
    fn a_profile_is_a_name() {
        let name = |body: Value| read::<Profile>(body).map(|profile| profile.name);
        assert_eq!(name(json!({ "name": " Rosa L. ", "role": "admin" })).as_deref(), Ok("Rosa L."));
        assert_eq!(name(json!({ "name": "é".repeat(100) })).unwrap().chars().count(), 100);
        for bad in [json!({}), json!({ "name": 7 }), json!({ "name": null }), json!({ "name": ["x"] })] {
            assert_eq!(name(bad), Err("Missing required field".to_owned()));
        }
        for bad in [json!({ "name": "" }), json!({ "name": " \t" }), json!({ "name": "x".repeat(101) })] {
            assert_eq!(name(bad), Err("Invalid name".to_owned()));
        }
    }

    #[test]
    fn a_new_password_comes_with_the_current_one_and_is_strong() {
        let check = |body: Value, error: &str| {
            assert_eq!(read::<NewPassword>(body.clone()).err().as_deref(), Some(error), "{body}");
        };
        let good = json!({ "currentPassword": " ", "newPassword": " Abcdef1!" });
        assert_eq!(read::<NewPassword>(good).unwrap().new_password, " Abcdef1!");
        for name in ["currentPassword", "newPassword"] {
            for nothing in [json!(null), json!("")] {
                let mut body = json!({ "currentPassword": "x", "newPassword": "Abcdef1!" });
                body[name] = nothing;
                check(body, "Missing required fields");
            }
        }
        check(json!({ "currentPassword": 7, "newPassword": "Abcdef1!" }), "Missing required fields");
        check(json!({ "currentPassword": "x", "newPassword": "abcdef1!" }), "Weak password");
        check(json!({ "currentPassword": "x", "newPassword": 12_345_678 }), "Weak password");
    }

    #[test]
    fn a_forgotten_password_needs_an_address_and_its_successor_a_token() {
        let email = |body: Value| read::<ForgottenPassword>(body).map(|form| form.email);
        assert_eq!(email(json!({ "email": " Rosa@Pinewood.test " })).as_deref(), Ok("rosa@pinewood.test"));
        for bad in [json!({}), json!({ "email": null }), json!({ "email": 7 }), json!({ "email": "rosa" })] {
            assert_eq!(email(bad), Err("Invalid email format".to_owned()));
        }
        let token = "0123456789abcdef".repeat(4);
        let check = |body: Value, error: &str| {
            assert_eq!(read::<PasswordOfReset>(body.clone()).err().as_deref(), Some(error), "{body}");
        };
        let form = read::<PasswordOfReset>(json!({ "token": token, "password": " Abcdef1!" })).unwrap();
        assert_eq!((form.token.expose(), form.password.as_str()), (token.as_str(), " Abcdef1!"));
        for bad in [json!(null), json!(""), json!(7), json!("A".repeat(64)), json!("ab")] {
            check(json!({ "token": bad, "password": "weak" }), "Invalid reset token");
        }
        check(json!({}), "Invalid reset token");
        for weak in [json!(null), json!(""), json!("abcdef1!"), json!(12_345_678)] {
            check(json!({ "token": token, "password": weak }), "Weak password");
        }
    }
}
