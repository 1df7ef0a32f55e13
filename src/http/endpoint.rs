//! The description of an endpoint, without its handler: what the router, the rate tiers, the API document and the tests
//! that walk all endpoints are made from. Every door lists its own.

use http::{Method, StatusCode};
use utoipa::ToSchema;
use utoipa::openapi::{Ref, RefOr, Schema};

use crate::domain::role::Role;
use crate::limits;

/// How often an endpoint may be called. The numbers stand in `access`. Source: API reference, identity 1.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Sign-up, login and password resets: per client address, one counter for all of them.
    Auth,
    /// Every authenticated endpoint: per organization. Public ones: per client address.
    Api,
    /// Role changes and the like: per organization, counted besides [`Tier::Api`].
    Strict,
    /// Probes with the monitor's secret: per client address.
    Monitor,
    /// Ingest events: per API key, for tokens per organization.
    IngestEvent,
    /// Ingest setup and teardown together: per API key, for tokens per organization.
    IngestLifecycle,
}

impl Tier {
    /// The name in documents, in configuration and as a label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Api => "api",
            Self::Strict => "strict",
            Self::Monitor => "monitor",
            Self::IngestEvent => "ingest-event",
            Self::IngestLifecycle => "ingest-lifecycle",
        }
    }
}

/// Who may call an endpoint. Source: API reference, identity 2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Callers {
    /// Everybody; a credential, good or bad, is ignored.
    Public,
    /// People with at least this role; an API key does not help.
    Token(Role),
    /// People and API keys with at least this role; the key is looked at first and wins.
    TokenOrKey(Role),
    /// Who knows the monitor's secret.
    Secret,
}

/// What an endpoint wants of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyRule {
    /// None; one that comes all the same is checked for size and type, and not read.
    Unused,
    /// A JSON object; without one it is as if it were empty.
    Optional,
    /// A JSON object.
    Required,
}

/// A query parameter, for the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it does, for people.
    pub summary: &'static str,
}

/// Gives the schema of a type, and adds those it is made of, with their names.
pub type SchemaOf = fn(&mut Vec<(String, RefOr<Schema>)>) -> RefOr<Schema>;

/// What an endpoint answers when all is well.
#[derive(Debug, Clone, Copy)]
pub struct Success {
    /// The status.
    pub status: StatusCode,
    /// The media type.
    pub media_type: &'static str,
    /// Whether the success envelope is around it.
    pub enveloped: bool,
    /// The body's schema, if it has one worth telling.
    pub schema: Option<SchemaOf>,
}

/// One endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The path, as `/api/users/{id}`.
    pub path: &'static str,
    /// One word, `verb_resource`, unique over all endpoints: the operation id, the handler and the test.
    pub id: &'static str,
    /// The part of the API it belongs to, as `auth`; set when the tables are joined.
    pub category: &'static str,
    /// Who may call it.
    pub callers: Callers,
    /// How often; `None` for as often as one likes.
    pub tier: Option<Tier>,
    /// What it does, in one line, for people.
    pub summary: &'static str,
    /// What it wants of a body.
    pub body: BodyRule,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// The body's schema.
    pub request: Option<SchemaOf>,
    /// Query parameters.
    pub parameters: Vec<Parameter>,
    /// The answer when all is well.
    pub success: Success,
    /// Statuses besides that of success under which it gives the same body.
    pub also: Vec<StatusCode>,
    /// Its own failures, besides those that every endpoint with its callers has.
    pub failures: Vec<(StatusCode, &'static str)>,
    /// A member that every failure of it has besides those of the envelope.
    pub failure_member: Option<(&'static str, bool)>,
}

impl Endpoint {
    /// An endpoint that takes no body and answers 200 with an enveloped object.
    #[must_use]
    pub const fn new(
        method: Method,
        path: &'static str,
        callers: Callers,
        tier: Option<Tier>,
        id: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            id,
            category: "",
            callers,
            tier,
            summary: "",
            body: BodyRule::Unused,
            body_bytes_max: limits::JSON_BODY_BYTES_MAX,
            request: None,
            parameters: Vec::new(),
            success: Success {
                status: StatusCode::OK,
                media_type: "application/json",
                enveloped: true,
                schema: None,
            },
            also: Vec::new(),
            failures: Vec::new(),
            failure_member: None,
        }
    }

    /// Says what it does, in one line.
    #[must_use]
    pub const fn about(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// Wants a JSON object of this type.
    #[must_use]
    pub fn takes<T: ToSchema>(mut self) -> Self {
        self.body = BodyRule::Required;
        self.request = Some(schema_of::<T>);
        self
    }

    /// Takes a JSON object of this type, or nothing.
    #[must_use]
    pub fn may_take<T: ToSchema>(mut self) -> Self {
        self.body = BodyRule::Optional;
        self.request = Some(schema_of::<T>);
        self
    }

    /// Takes bodies of at most this many bytes.
    #[must_use]
    pub const fn up_to(mut self, body_bytes_max: usize) -> Self {
        self.body_bytes_max = body_bytes_max;
        self
    }

    /// Answers with this type in the success envelope.
    #[must_use]
    pub fn gives<T: ToSchema>(mut self, status: StatusCode) -> Self {
        self.success.status = status;
        self.success.schema = Some(schema_of::<T>);
        self
    }

    /// Answers with this type, without an envelope.
    #[must_use]
    pub fn gives_bare<T: ToSchema>(mut self) -> Self {
        self.success.enveloped = false;
        self.success.schema = Some(schema_of::<T>);
        self
    }

    /// Gives the same body under another status, too.
    #[must_use]
    pub fn also(mut self, status: StatusCode) -> Self {
        self.also.push(status);
        self
    }

    /// Answers with something other than JSON.
    #[must_use]
    pub const fn gives_media(mut self, media_type: &'static str) -> Self {
        self.success.enveloped = false;
        self.success.media_type = media_type;
        self
    }

    /// Takes a query parameter.
    #[must_use]
    pub fn asks(mut self, name: &'static str, summary: &'static str) -> Self {
        self.parameters.push(Parameter { name, summary });
        self
    }

    /// May fail like this.
    #[must_use]
    pub fn fails<const N: usize>(mut self, failures: [(StatusCode, &'static str); N]) -> Self {
        self.failures.extend(failures);
        self
    }

    /// Has this member in every failure.
    #[must_use]
    pub const fn says_in_failures(mut self, name: &'static str, value: bool) -> Self {
        self.failure_member = Some((name, value));
        self
    }

    /// The names in braces in the path.
    pub fn path_parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// The schema of `T` by reference, with everything it needs added to `parts`.
pub fn schema_of<T: ToSchema>(parts: &mut Vec<(String, RefOr<Schema>)>) -> RefOr<Schema> {
    T::schemas(parts);
    parts.push((T::name().into_owned(), T::schema()));
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Finding;

    #[test]
    fn a_row_describes_itself() {
        let row = Endpoint::new(
            Method::PATCH,
            "/api/a/{id}/b/{other}",
            Callers::Token(Role::Admin),
            Some(Tier::Strict),
            "change_a",
        )
        .takes::<Finding>()
        .gives::<Finding>(StatusCode::CREATED)
        .fails([(StatusCode::CONFLICT, "Taken")]);
        assert_eq!(row.path_parameters().collect::<Vec<_>>(), ["id", "other"]);
        assert_eq!((row.body, row.success.status.as_u16()), (BodyRule::Required, 201));
        let mut parts = Vec::new();
        let schema = row.request.unwrap()(&mut parts);
        assert_eq!(serde_json::to_value(schema).unwrap()["$ref"], "#/components/schemas/Finding");
        assert_eq!(parts.last().unwrap().0, "Finding");
    }
}
