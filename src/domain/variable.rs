//! Environment variables of a project. Source: API reference, executions 14.7 to 14.11.

use serde::{Deserialize, Serialize};

use super::id::{OrgId, ProjectId, VariableId, stored_org};
use crate::clock::UnixMs;
use crate::limits::VARIABLE_NAME_CHARS_MAX;

/// What is shown in place of a secret value, and is never one.
pub const MASK: &str = "********";

/// Names that the server sets itself, besides those that begin with [`RESERVED_PREFIX`].
const RESERVED: [&str; 4] =
    ["TASK_ID", "FRAMEWORK_AGNOSTIC", "PLAYWRIGHT_REPORTERS", "PLAYWRIGHT_JSON_OUTPUT_NAME"];
const RESERVED_PREFIX: &str = "PLATFORM_";

/// A variable. The value of a secret one is not here: it is stored sealed, under [`Variable::secret_name`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its id.
    pub id: VariableId,
    /// The organization it belongs to.
    #[serde(with = "stored_org")]
    pub org: OrgId,
    /// The project it belongs to.
    pub project: ProjectId,
    /// Its name in the environment, unique within the project.
    pub key: String,
    /// Its value; `None` for a secret one.
    pub value: Option<String>,
    /// Unix milliseconds.
    pub created_ms: UnixMs,
    /// Unix milliseconds.
    pub updated_ms: UnixMs,
}

impl Variable {
    /// Whether nobody may see its value.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        self.value.is_none()
    }

    /// The name under which its value is sealed and stored if it is secret. A new `key` does not change it.
    #[must_use]
    pub fn secret_name(&self) -> String {
        format!("{}{}", secrets_of(self.project), self.id)
    }
}

/// What the names of a project's secret variables begin with.
#[must_use]
pub fn secrets_of(project: ProjectId) -> String {
    format!("variable/{project}/")
}

/// Whether a variable may have this name in an environment: letters, digits and `_`, no digit first.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let lettered = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let mut bytes = text.bytes();
    text.len() <= VARIABLE_NAME_CHARS_MAX
        && bytes.next().is_some_and(lettered)
        && bytes.all(|byte| lettered(byte) || byte.is_ascii_digit())
}

/// Whether the server sets this name itself.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED_PREFIX) || RESERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_an_environment() {
        for name in ["A", "_", "_1", "base_URL2", &"a".repeat(128)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "1A", "A-B", "A B", " A", "A=", "é", "A\0", &"a".repeat(129)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn reserved_names_are_those_that_the_server_sets() {
        for name in [
            "PLATFORM_",
            "PLATFORM_X",
            "TASK_ID",
            "FRAMEWORK_AGNOSTIC",
            "PLAYWRIGHT_REPORTERS",
            "PLAYWRIGHT_JSON_OUTPUT_NAME",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["BASE_URL", "CI", "PLATFORM", "platform_x", "task_id", "TASK_ID2", "PLAYWRIGHT"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
