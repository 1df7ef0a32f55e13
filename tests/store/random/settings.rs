//! Which setting or variable changes next.

use rand::RngExt as _;
use rand::rngs::StdRng;
use runstream::domain::id::{ProjectId, VariableId};
use runstream::domain::organization::{
    AiFeature, Author, FeaturesPatch, NotifiedStatus, OrgChange, Patch, SettingsPatch, place,
};
use runstream::domain::project::{Project, ProjectSettings};
use runstream::domain::seal::{Sealed, Sealer, SealingKey};
use runstream::domain::variable::Variable;

use super::joining::audit;
use super::model::Model;
use super::operation::Operation;
use crate::store::sample::{self, NOW_MS};
use crate::store::{organizations, project_settings, variables};

impl Model {
    /// A change of what an organization or a project has set.
    pub(super) fn next_setting(&self, random: &mut StdRng) -> Option<Operation> {
        if random.random_range(0..3) == 0 {
            return self.next_project_setting(random);
        }
        let known = *self.orgs.keys().nth(random.random_range(0..self.orgs.len().max(1)))?;
        let org = if random.random_range(0..9) == 0 { sample::org() } else { known };
        let now_ms = NOW_MS + random.random_range(-5_000_000..5_000_000);
        let author = Author { now_ms, ..organizations::author() };
        if random.random_range(0..3) == 0 {
            let feature = AiFeature::ALL[random.random_range(0..AiFeature::ALL.len())];
            let patch = FeaturesPatch {
                test_cases_enabled: random.random_bool(0.5).then(|| random.random_bool(0.5)),
                test_cycles_enabled: random.random_bool(0.5).then(|| random.random_bool(0.5)),
                ai_features: vec![(feature, random.random_bool(0.5))],
            };
            return Some(Operation::Configure(org, OrgChange::Features(patch), author));
        }
        let sealer = Sealer::new(SealingKey::from_secret(&[1; 32]), Vec::new());
        let mut secret = |place: &str| -> Patch<Sealed> {
            match random.random_range(0..6) {
                0 => Patch::Clear,
                1 | 2 => Patch::Set(sealer.seal(org, place, &"tea".into())),
                _ => Patch::Keep,
            }
        };
        let mut patch = SettingsPatch {
            slack_url: secret(place::SLACK_URL),
            ms_teams_url: secret(place::MS_TEAMS_URL),
            outbound_url: secret(place::OUTBOUND_URL),
            outbound_secret: secret(place::OUTBOUND_SECRET),
            webhook_secret: secret(place::WEBHOOK_SECRET),
            ..SettingsPatch::default()
        };
        patch.name = random.random_bool(0.3).then(|| format!("Pinewood {}", random.random_range(0..99)));
        patch.ai_analysis_enabled = random.random_bool(0.3).then(|| random.random_bool(0.5));
        patch.slack_events = random.random_bool(0.3).then(|| vec![NotifiedStatus::Error]);
        Some(Operation::Configure(org, OrgChange::from(patch), author))
    }

    fn any_project(&self, random: &mut StdRng) -> Option<&Project> {
        self.projects.get(random.random_range(0..self.projects.len().max(1)))
    }

    fn next_project_setting(&self, random: &mut StdRng) -> Option<Operation> {
        let project = self.any_project(random)?;
        let org = if random.random_range(0..9) == 0 { sample::org() } else { project.org };
        let now = self.project_settings(project.org, project.id)?;
        let other = ProjectSettings {
            docker_image: format!("registry.test/e2e:{}", random.random_range(0..9)),
            auto_quarantine: random.random_bool(0.5),
            ..project_settings::some()
        };
        let before = if random.random_range(0..5) == 0 { other.clone() } else { now };
        let audit = audit(org, "project.settings_updated", random);
        Some(Operation::SaveSettings(org, project.id, before, other, audit))
    }

    /// A variable made, changed or removed; now and then as somebody who has not seen how it is now.
    pub(super) fn next_variable(&self, random: &mut StdRng) -> Option<Operation> {
        let project = self.any_project(random)?;
        let key = ["A", "B", "C", "D"][random.random_range(0..4)];
        let value = random.random_bool(0.6).then(|| format!("{}", random.random_range(0..9)));
        let own: Vec<_> = self.variables_of(project.id).collect();
        let kind = random.random_range(0..6);
        if own.is_empty() || kind < 2 {
            let org = if random.random_range(0..9) == 0 { sample::org() } else { project.org };
            let id = if random.random_range(0..9) == 0 { ProjectId::generate(1) } else { project.id };
            let created_ms = NOW_MS + random.random_range(0..9);
            let variable = Variable { value, created_ms, ..variables::plain(org, id, key) };
            let sealed = variable.is_secret().then(|| variables::seal(&variable, "tea"));
            return Some(Operation::CreateVariable(variable, sealed, audit(org, "envvar.created", random)));
        }
        let mut before = own[random.random_range(0..own.len())].clone();
        let after = if random.random_bool(0.5) { before.key.clone() } else { key.to_owned() };
        let after = Variable { key: after, value, updated_ms: NOW_MS + 1, ..before.clone() };
        match random.random_range(0..8) {
            0 => before.updated_ms -= 1,
            1 => before.id = VariableId::generate(NOW_MS),
            _ => {}
        }
        if kind == 5 {
            let audit = audit(before.org, "envvar.deleted", random);
            return Some(Operation::DeleteVariable(before, audit));
        }
        let after = Variable { id: before.id, ..after };
        let keeps = before.is_secret() && random.random_bool(0.5);
        let sealed = (after.is_secret() && !keeps).then(|| variables::seal(&after, "coffee"));
        let audit = audit(after.org, "envvar.updated", random);
        Some(Operation::UpdateVariable(before, after, sealed, audit))
    }
}
