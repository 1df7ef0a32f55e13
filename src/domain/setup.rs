//! What a reporter asks for when it opens a run, checked and cleaned. Whatever can be mended is mended: the public
//! reporter answers a refusal by going silent, so a branch name of 201 characters would cost a whole run.
//! Source: API reference, ingest 2; product E9.

use serde_json::{Map, Value};
use url::Url;

use super::execution::CiContext;
use super::finding::Finding;
use super::id::ProjectId;
use super::{number, redact, text};
use crate::clock::UnixMs;
use crate::limits::{
    BRANCH_CHARS_MAX, COMMIT_CHARS_MAX, GROUP_NAME_CHARS_MAX, REPORTER_VERSION_CHARS_MAX,
    REPOSITORY_CHARS_MAX, RUN_NAME_CHARS_MAX, RUN_URL_CHARS_MAX, TOTAL_TESTS_MAX,
};

/// Where a run may come from; the name goes into the run's `trigger`.
const CI_SOURCES: [&str; 8] =
    ["github", "gitlab", "azure", "bitbucket", "jenkins", "circleci", "buildkite", "local"];
/// Environments of a run; the last is the default.
const ENVIRONMENTS: [&str; 3] = ["development", "staging", "production"];
/// The name that lists use for runs without a group; no group can have it.
const RESERVED_GROUP: &str = "__ungrouped__";

/// A valid setup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupRequest {
    /// The project, not yet known to exist.
    pub project: ProjectId,
    /// Name for the cycle, at most 200 characters; see [`SetupRequest::run_name_at`].
    pub run_name: Option<String>,
    /// `^[a-z][a-z0-9._-]{0,49}$`.
    pub framework: String,
    /// 1 to 50 characters.
    pub reporter_version: String,
    /// Announced tests, at most 100 000.
    pub total_tests: u32,
    /// `development`, `staging` or `production`.
    pub environment: String,
    /// CI facts, without secrets.
    pub ci_context: Option<CiContext>,
    /// Group, 1 to 128 characters.
    pub group_name: Option<String>,
}

impl SetupRequest {
    /// Checks a request body.
    ///
    /// # Errors
    /// Everything that is wrong with it and cannot be mended, in the order of the contract's table.
    pub fn from_json(body: &Value) -> Result<Self, Vec<Finding>> {
        let Some(fields) = body.as_object() else {
            return Err(vec![Finding::new("", "must be an object")]);
        };
        let mut findings = Vec::new();
        let mut check = Checker { fields, findings: &mut findings };
        let project = check.project();
        let run_name = check.optional_text("runName", RUN_NAME_CHARS_MAX);
        let framework = check.framework();
        let reporter_version = check.reporter_version();
        let total_tests = check.total_tests();
        let environment = check.environment();
        let ci_context = check.ci_context();
        let group_name = check.optional_text("groupName", GROUP_NAME_CHARS_MAX);
        match (project, framework, reporter_version, total_tests, environment) {
            (
                Some(project),
                Some(framework),
                Some(reporter_version),
                Some(total_tests),
                Some(environment),
            ) if findings.is_empty() => Ok(Self {
                project,
                run_name,
                framework,
                reporter_version,
                total_tests,
                environment,
                ci_context,
                group_name: group_name.filter(|name| name != RESERVED_GROUP),
            }),
            _ => Err(findings),
        }
    }

    /// The cycle's name: as sent, else `External CI — <ISO time>` for a run opened at `now_ms` (Unix milliseconds).
    #[must_use]
    pub fn run_name_at(&self, now_ms: UnixMs) -> String {
        self.run_name.clone().unwrap_or_else(|| {
            let moment = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
            format!("External CI — {moment:.3}")
        })
    }

    /// What started the run, for its `trigger`: the CI system, or `webhook` where none is named.
    #[must_use]
    pub fn trigger(&self) -> &str {
        self.ci_context.as_ref().map_or("webhook", |context| context.source.as_str())
    }
}

/// Reads fields one after another and collects what is wrong. A method returns `None` exactly when it has left a
/// finding or the field is optional and absent. `null` counts as absent everywhere.
struct Checker<'a> {
    fields: &'a Map<String, Value>,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Checker<'a> {
    fn present(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    fn wrong<T>(&mut self, field: &'static str, message: &'static str) -> Option<T> {
        self.findings.push(Finding::new(field, message));
        None
    }

    fn required_text(&mut self, field: &'static str) -> Option<&'a str> {
        match self.present(field) {
            Some(Value::String(text)) => Some(text),
            Some(_) => self.wrong(field, "must be a string"),
            None => self.wrong(field, "is required"),
        }
    }

    /// Blank counts as absent, too long is cut.
    fn optional_text(&mut self, field: &'static str, chars: usize) -> Option<String> {
        match self.present(field)? {
            Value::String(text) if text.trim().is_empty() => None,
            Value::String(text) => Some(text::at_most(text, chars).to_owned()),
            _ => self.wrong(field, "must be a string"),
        }
    }

    fn project(&mut self) -> Option<ProjectId> {
        match self.required_text("projectId")?.parse() {
            Ok(project) => Some(project),
            Err(_) => self.wrong("projectId", "must be 24 lower-case hexadecimal characters"),
        }
    }

    fn framework(&mut self) -> Option<String> {
        let name = self.required_text("framework")?;
        let rest_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let allowed = name.len() <= 50
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(rest_allowed);
        if allowed { Some(name.to_owned()) } else { self.wrong("framework", "not one of the allowed values") }
    }

    fn reporter_version(&mut self) -> Option<String> {
        let version = self.required_text("reporterVersion")?;
        if version.is_empty() {
            return self.wrong("reporterVersion", "must not be empty");
        }
        Some(text::at_most(version, REPORTER_VERSION_CHARS_MAX).to_owned())
    }

    fn total_tests(&mut self) -> Option<u32> {
        let Some(value) = self.present("totalTests") else { return self.wrong("totalTests", "is required") };
        let total = value.as_f64().and_then(number::integer).and_then(|total| u32::try_from(total).ok());
        match total {
            Some(total) if total <= TOTAL_TESTS_MAX => Some(total),
            _ => self.wrong("totalTests", "must be an integer from 0 to 100000"),
        }
    }

    fn environment(&mut self) -> Option<String> {
        let Some(value) = self.present("environment") else { return Some("production".to_owned()) };
        match value.as_str() {
            Some(name) if ENVIRONMENTS.contains(&name) => Some(name.to_owned()),
            _ => self.wrong("environment", "must be development, staging or production"),
        }
    }

    fn ci_context(&mut self) -> Option<CiContext> {
        let Some(context) = self.present("ciContext")?.as_object() else {
            return self.wrong("ciContext", "must be an object");
        };
        let text = |field| context.get(field).and_then(Value::as_str).filter(|text: &&str| !text.is_empty());
        let cut = |field, chars| text(field).map(|text| text::at_most(text, chars).to_owned());
        let Some(source) = text("source").filter(|source| CI_SOURCES.contains(source)) else {
            return self.wrong("ciContext.source", "not one of the allowed values");
        };
        let pr_number = context.get("prNumber").and_then(Value::as_f64).and_then(number::integer);
        Some(CiContext {
            source: source.to_owned(),
            // Secrets go first: a cut address may no longer be recognised as one.
            repository: text("repository")
                .map(|address| text::at_most(&redact::address(address), REPOSITORY_CHARS_MAX).to_owned()),
            branch: cut("branch", BRANCH_CHARS_MAX),
            pr_number: pr_number.and_then(|number| u64::try_from(number).ok()).filter(|number| *number >= 1),
            commit_sha: cut("commitSha", COMMIT_CHARS_MAX),
            run_url: text("runUrl").and_then(run_url),
        })
    }
}

/// The address of a CI run without secrets; `None` unless it is an absolute web address of bearable length. Other
/// schemes are dropped: dashboards make a link of it.
fn run_url(address: &str) -> Option<String> {
    let parsed = Url::parse(address).ok()?;
    let is_web = matches!(parsed.scheme(), "http" | "https");
    let clean = redact::address(address);
    (is_web && text::cut(&clean, RUN_URL_CHARS_MAX).is_none()).then(|| clean.into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn minimal() -> Value {
        json!({
            "projectId": "690a11b2c3d4e5f607182930", "framework": "playwright",
            "reporterVersion": "2.0.1", "totalTests": 214,
        })
    }

    fn with(path: &str, value: Value) -> Result<SetupRequest, Vec<Finding>> {
        let mut body = minimal();
        match path.split_once('.') {
            Some((outer, inner)) => {
                body[outer] = json!({ "source": "gitlab" });
                body[outer][inner] = value;
            }
            None => body[path] = value,
        }
        SetupRequest::from_json(&body)
    }

    fn refused(path: &str, value: Value, message: &str) {
        let findings = with(path, value.clone()).expect_err(&format!("{path}: {value}"));
        assert_eq!(findings, [Finding::new(path.to_owned(), message.to_owned())], "{value}");
    }

    fn context(path: &str, value: Value) -> CiContext {
        with(path, value).unwrap().ci_context.unwrap()
    }

    #[test]
    fn the_shortest_request_has_the_documented_defaults() {
        let request = SetupRequest::from_json(&minimal()).unwrap();
        assert_eq!(request.project.to_string(), "690a11b2c3d4e5f607182930");
        assert_eq!(request.environment, "production");
        assert_eq!(
            (request.run_name.as_ref(), request.group_name.as_ref(), &request.ci_context),
            (None, None, &None)
        );
        assert_eq!(request.trigger(), "webhook");
        assert_eq!(request.run_name_at(1_774_002_400_123), "External CI — 2026-03-20T10:26:40.123Z");
    }

    #[test]
    fn required_fields_are_required_and_null_is_absent() {
        for field in ["projectId", "framework", "reporterVersion", "totalTests"] {
            refused(field, Value::Null, "is required");
        }
        let findings = SetupRequest::from_json(&json!({})).unwrap_err();
        let fields: Vec<_> = findings.iter().map(|finding| finding.field.as_str()).collect();
        assert_eq!(fields, ["projectId", "framework", "reporterVersion", "totalTests"]);
        for body in [json!([]), json!("x"), json!(5), Value::Null] {
            assert_eq!(SetupRequest::from_json(&body).unwrap_err(), [Finding::new("", "must be an object")]);
        }
        for field in ["runName", "environment", "ciContext", "groupName"] {
            assert_eq!(with(field, Value::Null), SetupRequest::from_json(&minimal()), "{field}");
        }
    }

    #[test]
    fn the_project_id_has_one_form() {
        for id in ["", "690A11B2C3D4E5F607182930", "690a11b2c3d4e5f60718293", "690a11b2c3d4e5f60718293g", "x"]
        {
            refused("projectId", json!(id), "must be 24 lower-case hexadecimal characters");
        }
        refused("projectId", json!(5), "must be a string");
    }

    #[test]
    fn run_and_group_names_are_cut_and_blank_is_absent() {
        for (field, chars) in [("runName", 200), ("groupName", 128)] {
            let name = |value: Value| {
                let request = with(field, value).unwrap();
                if field == "runName" { request.run_name } else { request.group_name }
            };
            assert_eq!(name(json!("ä".repeat(chars))), Some("ä".repeat(chars)));
            assert_eq!(name(json!("ä".repeat(chars + 1))), Some("ä".repeat(chars)));
            assert_eq!(name(json!(" nightly ")), Some(" nightly ".to_owned()));
            assert_eq!(name(json!("")), None);
            assert_eq!(name(json!(" \t")), None);
            refused(field, json!(7), "must be a string");
        }
        assert_eq!(with("groupName", json!("__ungrouped__")).unwrap().group_name, None);
    }

    #[test]
    fn a_framework_is_an_identifier() {
        for good in ["playwright", "jest", "vitest", "cypress", "pytest", "go", "a.b_c-9", &"a".repeat(50)] {
            assert_eq!(with("framework", json!(good)).unwrap().framework, good);
        }
        for bad in ["", "Playwright", "9lives", "-x", "a b", "ä", &"a".repeat(51)] {
            refused("framework", json!(bad), "not one of the allowed values");
        }
    }

    #[test]
    fn a_version_is_cut_but_not_empty() {
        refused("reporterVersion", json!(""), "must not be empty");
        assert_eq!(with("reporterVersion", json!("1".repeat(51))).unwrap().reporter_version, "1".repeat(50));
    }

    #[test]
    fn the_total_is_a_bounded_integer() {
        for (sent, read) in [(json!(0), 0), (json!(100_000), 100_000), (json!(3.0), 3)] {
            assert_eq!(with("totalTests", sent).unwrap().total_tests, read);
        }
        for sent in [json!(-1), json!(100_001), json!(1.5), json!("3"), json!(1e300), json!(true), json!([])]
        {
            refused("totalTests", sent, "must be an integer from 0 to 100000");
        }
    }

    #[test]
    fn the_environment_is_one_of_three() {
        assert_eq!(with("environment", json!("staging")).unwrap().environment, "staging");
        for sent in [json!("prod"), json!(""), json!("Production"), json!(1)] {
            refused("environment", sent, "must be development, staging or production");
        }
    }

    #[test]
    fn the_ci_source_is_one_of_a_list() {
        for source in CI_SOURCES {
            assert_eq!(with("ciContext.source", json!(source)).unwrap().trigger(), source);
        }
        for sent in [json!("travis"), json!("GitHub"), json!(""), json!(5), Value::Null] {
            refused("ciContext.source", sent, "not one of the allowed values");
        }
        refused("ciContext", json!([]), "must be an object");
        refused("ciContext", json!("github"), "must be an object");
    }

    #[test]
    fn optional_ci_facts_are_cut_cleaned_or_dropped_but_never_refused() {
        let (repository, branch, commit) =
            ("ciContext.repository", "ciContext.branch", "ciContext.commitSha");
        assert_eq!(context(repository, json!("r".repeat(301))).repository, Some("r".repeat(300)));
        let secret = format!("https://bob:{}@git.test/shop/web", "p".repeat(300));
        assert_eq!(context(repository, json!(secret)).repository.unwrap(), "https://git.test/shop/web");
        assert_eq!(context(branch, json!("b".repeat(256))).branch, Some("b".repeat(255)));
        assert_eq!(context(commit, json!("c".repeat(65))).commit_sha, Some("c".repeat(64)));
        for path in [repository, branch, commit, "ciContext.runUrl"] {
            for sent in [Value::Null, json!(5), json!("")] {
                let bare = CiContext { source: "gitlab".to_owned(), ..CiContext::default() };
                assert_eq!(context(path, sent), bare, "{path}");
            }
        }
        for (sent, read) in [
            (json!(17), Some(17)),
            (json!(17.0), Some(17)),
            (json!(0), None),
            (json!(-3), None),
            (json!(1.5), None),
            (json!("17"), None),
            (Value::Null, None),
        ] {
            assert_eq!(context("ciContext.prNumber", sent).pr_number, read);
        }
    }

    #[test]
    fn the_run_address_is_absolute_short_and_without_secrets() {
        let run_url = |sent: &str| context("ciContext.runUrl", json!(sent)).run_url;
        assert_eq!(run_url("https://ci.test"), Some("https://ci.test".to_owned()));
        assert_eq!(
            run_url("https://a:b@ci.test/1?token=x&n=1"),
            Some("https://ci.test/1?token=****&n=1".to_owned())
        );
        for dropped in ["/relative", "ci.test/1", "javascript:alert(1)", "not a url", "https://"] {
            assert_eq!(run_url(dropped), None, "{dropped}");
        }
        let long = |chars: usize| format!("https://ci.test/{}", "x".repeat(chars - 16));
        assert_eq!(run_url(&long(500)), Some(long(500)));
        assert_eq!(run_url(&long(501)), None);
    }
}
