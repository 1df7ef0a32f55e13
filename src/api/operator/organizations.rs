//! Organizations of all tenants, their projects and their audit logs.

use serde::Serialize;
use serde_json::{Value, json};

use super::{FAILED, Operator, read, under};
use crate::api::auth::{Founded, SignUp, SignedInUser, email_taken};
use crate::api::organization::Wanted;
use crate::api::projects::{NewProject, ProjectView, make_project};
use crate::api::reply::failed;
use crate::domain::account::Organization;
use crate::domain::id::OrgId;
use crate::domain::plan::Plan;
use crate::domain::time::IsoMs;
use crate::http::{Failure, Kind};
use crate::store::contract::{Conflict, StoreError};

/// An organization as operators see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OrganizationLine {
    id: String,
    name: String,
    slug: String,
    plan: Plan,
    user_count: u64,
    created_at: IsoMs,
    updated_at: IsoMs,
}

impl Operator {
    /// The organization with this id or slug; without one the only one there is.
    ///
    /// # Errors
    /// 404 if there is none, 409 if none is named and there are several.
    pub async fn organization(&self, wanted: Option<&str>) -> Result<Organization, Failure> {
        let mut all = self.all().await?;
        match wanted {
            Some(wanted) => {
                all.retain(|found| found.slug == wanted || found.id.to_string() == wanted);
                // An organization may have the other's id for its slug: the id counts.
                all.sort_by_key(|found| found.id.to_string() != wanted);
            }
            None if all.len() > 1 => {
                let message = format!("There are {} organizations: name one by its id or slug", all.len());
                return Err(Failure::new(Kind::Conflict, "Several organizations", message));
            }
            None => {}
        }
        all.into_iter().next().ok_or_else(|| {
            let message = "The store has no organization with this id or slug";
            Failure::not_found("Organization not found", message)
        })
    }

    /// Every organization, oldest first: `{organizations: […]}`.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn organizations(&self) -> Result<Value, Failure> {
        let mut lines = Vec::new();
        for organization in self.all().await? {
            lines.push(self.line(organization).await?);
        }
        under("organizations", &lines)
    }

    /// One organization: `{organization: {…}}`.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn show_organization(&self, organization: Organization) -> Result<Value, Failure> {
        under("organization", &self.line(organization).await?)
    }

    /// Makes an organization with its first administrator, as a sign-up does: `{token, user}`.
    ///
    /// # Errors
    /// Those of the sign-up.
    pub async fn create_organization(&self, body: Value) -> Result<Value, Failure> {
        let form = read::<SignUp>(body)?;
        let known = self.store().user_by_email(&form.email).await.map_err(failed(FAILED))?;
        if known.is_some() {
            return Err(email_taken());
        }
        let now_ms = self.parts.clock.now_ms();
        let Founded { organization, fallback_slug, user } =
            Founded::of(form, &self.parts.passwords, now_ms).await?;
        let details = json!({ "email": user.email });
        let audit = self.actor(user.org).did("auth.signup", ("user", user.id), &details);
        let stored = self.store().sign_up(organization, fallback_slug, user.clone(), audit, None).await;
        let organization = stored.map_err(|error| match error {
            StoreError::Conflict(Conflict::Email) => email_taken(),
            other => failed(FAILED)(other),
        })?;
        let token = self.parts.access.issue_token(&user)?.token;
        let user = SignedInUser::new(user, Some(organization.name));
        Ok(json!({ "token": token, "user": user }))
    }

    /// The projects: `{projects: […]}`.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn projects(&self, org: OrgId) -> Result<Value, Failure> {
        let projects = self.store().projects(org).await.map_err(failed(FAILED))?;
        under("projects", &projects.into_iter().map(ProjectView::from).collect::<Vec<_>>())
    }

    /// Makes a project: `{project: {…}}`.
    ///
    /// # Errors
    /// Those of the endpoint.
    pub async fn create_project(&self, org: OrgId, body: Value) -> Result<Value, Failure> {
        let NewProject { name } = read(body)?;
        let project = make_project(self.store(), &self.actor(org), name, self.parts.plan).await?;
        under("project", &ProjectView::from(project))
    }

    /// A page of the audit log as `query` asks for it: `{data: {logs, total, limit, offset}}`. No plan hides it from an
    /// operator.
    ///
    /// # Errors
    /// Those of the endpoint.
    pub async fn audit_log(&self, org: OrgId, query: &str) -> Result<Value, Failure> {
        under("data", &Wanted::read(Some(query))?.page_of(self.store(), org).await?)
    }

    async fn all(&self) -> Result<Vec<Organization>, Failure> {
        let mut ids = self.store().organization_ids().await.map_err(failed(FAILED))?;
        ids.sort_unstable();
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            all.extend(self.store().organization(id).await.map_err(failed(FAILED))?);
        }
        Ok(all)
    }

    async fn line(&self, organization: Organization) -> Result<OrganizationLine, Failure> {
        let user_count = self.store().member_count(organization.id).await.map_err(failed(FAILED))?;
        Ok(OrganizationLine {
            id: organization.id.to_string(),
            name: organization.name,
            slug: organization.slug,
            plan: self.parts.plan,
            user_count,
            created_at: IsoMs(organization.created_ms),
            updated_at: IsoMs(organization.updated_ms),
        })
    }
}
