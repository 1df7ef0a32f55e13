//! The API document: OpenAPI 3.1, made from the rows of all doors. Nothing in it is written twice: paths, tiers, access
//! and failures are the rows', the bodies are the types' own schemas. Source: the OpenAPI specification 3.1.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::domain::finding::Finding;
use crate::domain::role::Role;
use crate::http::endpoint::{BodyRule, SchemaOf, schema_of};
use crate::http::{Callers, Endpoint};

/// The categories in the order in which people should meet them, with what each is about.
const CATEGORIES: [(&str, &str); 9] = [
    ("auth", "Signing up, in and out; API keys"),
    ("organization", "The organization: settings, usage, audit log"),
    ("users", "The members of an organization and their roles"),
    ("invitations", "Asking people to join an organization, and joining it"),
    ("billing", "Plans"),
    ("projects", "What runs belong to"),
    ("ingest", "Where reporters send what happens in a run"),
    ("executions", "Runs: their state, log, results and completeness"),
    ("system", "The server itself"),
];

/// The shape of every failure, for the document. What is written is `http::Failure`'s.
#[derive(utoipa::ToSchema)]
#[schema(as = Failure)]
#[expect(dead_code, reason = "it exists for its schema only")]
struct FailureBody {
    /// Always `false`.
    #[schema(value_type = bool, default = false)]
    success: bool,
    /// Short and stable; compare it exactly.
    error: String,
    /// For a person.
    message: String,
    /// What is wrong with which field.
    #[schema(required = false, nullable = false)]
    details: Option<Vec<Finding>>,
    /// Seconds, the same as in `Retry-After`; rate limits and lockouts only.
    #[schema(required = false, nullable = false)]
    retry_after: Option<u64>,
    /// The tier's maximum or the plan's limit; rate limits and quotas only.
    #[schema(required = false, nullable = false)]
    limit: Option<u64>,
    /// Length of the tier's window in milliseconds; rate limits only.
    #[schema(required = false, nullable = false)]
    window: Option<u64>,
}

/// The document of these endpoints, as text with a newline at the end.
#[must_use]
pub fn render(endpoints: &[Endpoint]) -> String {
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    for endpoint in endpoints {
        let operation = operation(endpoint, &mut schemas);
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            path.insert(endpoint.method.as_str().to_lowercase(), operation);
        }
    }
    schemas.reference(schema_of::<FailureBody>);
    let used = |category: &str| endpoints.iter().any(|endpoint| endpoint.category == category);
    let tags = CATEGORIES.iter().filter(|(category, _)| used(category));
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Runstream",
            "version": env!("CARGO_PKG_VERSION"),
            "description": env!("CARGO_PKG_DESCRIPTION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "tags": tags.map(|(name, about)| json!({ "name": name, "description": about })).collect::<Value>(),
        "paths": paths,
        "components": {
            "schemas": schemas.named,
            "securitySchemes": {
                "token": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "A person's token, from signing up or in",
                },
                "apiKey": {
                    "type": "apiKey", "in": "header", "name": "x-api-key",
                    "description": "Acts as its owner; looked at first",
                },
                "monitor": {
                    "type": "apiKey", "in": "header", "name": "x-agnox-monitor-secret",
                    "description": "The secret of the deployment's monitor",
                },
            },
        },
    });
    format!("{document:#}\n")
}

fn operation(endpoint: &Endpoint, schemas: &mut Schemas) -> Value {
    let mut operation = Map::new();
    let mut add = |name: &str, value: Value| operation.insert(name.to_owned(), value);
    add("operationId", endpoint.id.into());
    add("summary", endpoint.summary.into());
    add("tags", json!([endpoint.category]));
    add("parameters", parameters(endpoint));
    add("responses", responses(endpoint, schemas));
    add("security", security(endpoint.callers));
    if let Some(tier) = endpoint.tier {
        add("x-runstream-tier", tier.name().into());
    }
    if let Callers::Token(least) | Callers::TokenOrKey(least) = endpoint.callers
        && least != Role::Viewer
    {
        add("x-runstream-least-role", least.as_str().into());
    }
    if let Some(request) = endpoint.request {
        let body = json!({
            "required": endpoint.body == BodyRule::Required,
            "description": format!("At most {} bytes", endpoint.body_bytes_max),
            "content": { "application/json": { "schema": schemas.reference(request) } },
        });
        add("requestBody", body);
    }
    Value::Object(operation)
}

fn parameters(endpoint: &Endpoint) -> Value {
    let text = json!({ "type": "string" });
    let in_path = endpoint
        .path_parameters()
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text }));
    let in_query = endpoint.parameters.iter().map(|parameter| {
        json!({ "name": parameter.name, "in": "query", "description": parameter.summary, "schema": text })
    });
    in_path.chain(in_query).collect()
}

fn security(callers: Callers) -> Value {
    match callers {
        Callers::Public => json!([]),
        Callers::Token(_) => json!([{ "token": [] }]),
        Callers::TokenOrKey(_) => json!([{ "apiKey": [] }, { "token": [] }]),
        Callers::Secret => json!([{ "monitor": [] }]),
    }
}

fn responses(endpoint: &Endpoint, schemas: &mut Schemas) -> Value {
    let success = &endpoint.success;
    let mut content = Map::new();
    let schema = success.schema.map(|schema| schemas.reference(schema));
    let schema = match schema {
        Some(schema) if success.enveloped => json!({ "allOf": [succeeded(), schema] }),
        Some(schema) => schema,
        None if success.enveloped => succeeded(),
        None => json!({}),
    };
    content.insert(success.media_type.to_owned(), json!({ "schema": schema }));
    let mut responses = Map::new();
    for status in std::iter::once(&success.status).chain(&endpoint.also) {
        let answer = json!({ "description": reason(*status), "content": content });
        responses.insert(status.as_str().to_owned(), answer);
    }
    for (status, errors) in failures(endpoint) {
        let listed = errors.iter().map(|error| format!("`{error}`")).collect::<Vec<_>>().join(", ");
        let answer = json!({
            "description": listed,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Failure" } } },
            "x-runstream-errors": errors,
        });
        responses.entry(status.to_string()).or_insert(answer);
    }
    Value::Object(responses)
}

fn succeeded() -> Value {
    json!({
        "type": "object", "required": ["success"], "properties": { "success": { "const": true } },
    })
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Done")
}

/// Every failure of an endpoint by status: the common ones of its callers, then its own.
/// Source: API reference, identity 1.11.
fn failures(endpoint: &Endpoint) -> BTreeMap<u16, Vec<&'static str>> {
    let mut failures: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
    let mut add = |status: StatusCode, error: &'static str| {
        let errors = failures.entry(status.as_u16()).or_default();
        if !errors.contains(&error) {
            errors.push(error);
        }
    };
    if endpoint.body != BodyRule::Unused {
        add(StatusCode::BAD_REQUEST, "Invalid JSON");
        add(StatusCode::BAD_REQUEST, "Invalid request body");
        add(StatusCode::REQUEST_TIMEOUT, "Request timeout");
        add(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large");
        add(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type");
    }
    if let Callers::Token(least) | Callers::TokenOrKey(least) = endpoint.callers {
        add(StatusCode::UNAUTHORIZED, "Authentication required");
        add(StatusCode::UNAUTHORIZED, "Invalid token");
        if matches!(endpoint.callers, Callers::TokenOrKey(_)) {
            add(StatusCode::UNAUTHORIZED, "Invalid API key");
        }
        add(StatusCode::FORBIDDEN, "Account suspended");
        if least != Role::Viewer {
            add(StatusCode::FORBIDDEN, "Insufficient permissions");
        }
        add(StatusCode::SERVICE_UNAVAILABLE, "Service unavailable");
    }
    if endpoint.tier.is_some() {
        add(StatusCode::TOO_MANY_REQUESTS, "Rate limit exceeded");
    }
    for (status, error) in &endpoint.failures {
        add(*status, error);
    }
    let unexpected = failures.entry(500).or_default();
    if unexpected.is_empty() {
        unexpected.push("Internal Server Error");
    }
    failures
}

/// The named schemas that the operations refer to.
#[derive(Default)]
struct Schemas {
    named: BTreeMap<String, Value>,
}

impl Schemas {
    /// A reference to a type's schema; it and all it needs are kept.
    ///
    /// # Panics
    /// If two types of different shape have one name: one of them would be lost.
    fn reference(&mut self, schema: SchemaOf) -> Value {
        let mut parts = Vec::new();
        let reference = schema(&mut parts);
        for (name, part) in parts {
            let part = json!(part);
            let known = self.named.entry(name.clone()).or_insert_with(|| part.clone());
            assert_eq!(*known, part, "two types are called {name}");
        }
        json!(reference)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(&render(&crate::api::endpoints())).unwrap()
    }

    #[test]
    fn every_row_is_an_operation_of_its_own() {
        let rows = crate::api::endpoints();
        let document = document();
        let mut ids = HashSet::new();
        for row in &rows {
            let operation = &document["paths"][row.path][row.method.as_str().to_lowercase()];
            assert_eq!(operation["operationId"], row.id);
            assert!(ids.insert(row.id), "{} is there twice", row.id);
            let is_word = row.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(is_word && row.id.contains('_'), "{} is no verb_resource", row.id);
            assert!(!row.summary.is_empty(), "{} does not say what it does", row.id);
            let listed = CATEGORIES.iter().any(|(category, _)| *category == row.category);
            assert!(listed, "category {} is not described", row.category);
            assert_eq!(row.request.is_some(), row.body != BodyRule::Unused, "{}", row.id);
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(members) => {
                    found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    members.values().for_each(|member| references(member, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 10);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} is dangling");
        }
    }

    #[test]
    fn failures_are_told_by_status() {
        let document = document();
        let sign_up = &document["paths"]["/api/auth/signup"]["post"];
        assert_eq!(sign_up["security"], json!([]));
        assert_eq!(sign_up["x-runstream-tier"], "auth");
        let errors = |status: &str| sign_up["responses"][status]["x-runstream-errors"].clone();
        assert_eq!(errors("409"), json!(["Email already registered"]));
        assert_eq!(errors("500"), json!(["Signup failed"]));
        assert_eq!(errors("429"), json!(["Rate limit exceeded"]));
        assert!(errors("400").as_array().unwrap().contains(&json!("Weak password")));
        let create = &document["paths"]["/api/projects"]["post"];
        assert_eq!(create["x-runstream-least-role"], "developer");
        assert_eq!(create["security"], json!([{ "apiKey": [] }, { "token": [] }]));
    }
}
