//! What a reporter needs of a server: somebody signed up, a project, a key.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use runstream::cli::client::Client;
use runstream::dial::TcpDial;
use serde_json::{Value, json};

/// Somebody who is signed up, with a project and an API key.
pub(crate) struct Account {
    /// Sends the API key.
    pub(crate) reporter: Client,
    /// The project's id.
    pub(crate) project: String,
}

impl Account {
    /// A client of the server at `url`, without a credential.
    pub(crate) fn client_of(url: &str) -> Client {
        Client::new(Arc::new(TcpDial { timeout: Duration::from_secs(20) }), url).unwrap()
    }

    /// Signs up at the server at `url`.
    pub(crate) async fn sign_up(url: &str) -> Self {
        let client = Self::client_of(url);
        let person = json!({
            "email": "ada@example.test", "password": "Correct-Horse-9!", "name": "Ada", "organizationName": "Example"
        });
        let signed_up = created(&client, "/api/auth/signup", &person).await;
        let token = format!("Bearer {}", signed_up["token"].as_str().unwrap());
        let member = client.clone().with_header(header::AUTHORIZATION, HeaderValue::try_from(token).unwrap());
        let project = created(&member, "/api/projects", &json!({ "name": "Shop" })).await;
        let key = created(&member, "/api/auth/api-keys", &json!({})).await;
        let key = HeaderValue::from_str(key["apiKey"].as_str().unwrap()).unwrap();
        let reporter = client.with_header(HeaderName::from_static("x-api-key"), key);
        Self { reporter, project: project["project"]["id"].as_str().unwrap().to_owned() }
    }

    /// Opens a run; its session and its task id.
    pub(crate) async fn open_run(&self) -> (String, String) {
        let setup = json!({
            "projectId": self.project, "framework": "playwright", "reporterVersion": "1", "totalTests": 0
        });
        let opened = created(&self.reporter, "/api/ingest/setup", &setup).await;
        let id = |name: &str| opened["data"][name].as_str().unwrap().to_owned();
        (id("sessionId"), id("taskId"))
    }
}

/// The body of a 201.
pub(crate) async fn created(client: &Client, path: &str, body: &Value) -> Value {
    let answer = client.call(Method::POST, path, Some(body)).await.unwrap();
    assert_eq!(answer.status, 201, "{path}: {}", answer.body);
    answer.body
}
