//! How long events are kept.

use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;

use super::{InvalidOptions, millis};
use crate::domain::filter::TypePattern;
use crate::domain::retention::{Keep, Retention};
use crate::domain::{ProjectId, RunStatus};

/// How long events are kept. An age is `90d`, `36h` or `forever`; `@PROJECT` after a rule makes it one of this project, which goes
/// before the same rule of all projects.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Keeping")]
pub struct KeepOptions {
    /// How long events are kept after their commit, such as `365d` or, for one project, `30d@demo`; without it for ever. A run keeps
    /// its row, status, output and sequence numbers. `runlog hold` keeps all of a run.
    #[arg(long, env = "RUNLOG_RETAIN_FOR", value_name = "AGE[@PROJECT]", value_delimiter = ',', value_parser = age_rule)]
    pub retain_for: Vec<Rule<Keep>>,
    /// How long events of this type are kept, such as `step.progress=1d` or `tool.*=30d@demo`. Goes before --retain-status.
    #[arg(long, env = "RUNLOG_RETAIN_TYPE", value_name = "TYPE=AGE[@PROJECT]", value_delimiter = ',', value_parser = type_rule)]
    pub retain_type: Vec<Rule<(TypePattern, Keep)>>,
    /// How long the events of runs with this status are kept, such as `FAILED=365d`. Goes before --retain-for.
    #[arg(long, env = "RUNLOG_RETAIN_STATUS", value_name = "STATUS=AGE[@PROJECT]", value_delimiter = ',', value_parser = status_rule)]
    pub retain_status: Vec<Rule<(RunStatus, Keep)>>,
    /// Most bytes of payloads that a project keeps; the oldest events are removed first, whatever their age. Such as `10000000000`
    /// or, for one project, `1000000000@demo`.
    #[arg(long, env = "RUNLOG_RETAIN_BYTES", value_name = "BYTES[@PROJECT]", value_delimiter = ',', value_parser = bytes_rule)]
    pub retain_bytes: Vec<Rule<u64>>,
    /// Time after the end of a step at which its deltas become one event, such as `10m`: the last `step.progress` of kind
    /// `content_delta` gets the joined text, if that is the `content` of `step.done`, and the others lose their payload. Without it
    /// deltas stay.
    #[arg(long, env = "RUNLOG_COMPACT_DELTAS_AFTER", value_name = "AGE", value_parser = bounded_age)]
    pub compact_deltas_after: Option<Duration>,
    /// Time between two searches for events to remove or to compact, milliseconds (100 to 86,400,000).
    #[arg(long = "retain-interval-ms", env = "RUNLOG_RETAIN_INTERVAL_MS", default_value = "60000",
          value_parser = millis(100..=86_400_000))]
    pub retain_interval: Duration,
}

/// A rule of one project, or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<T> {
    project: Option<ProjectId>,
    value: T,
}

impl<T> Rule<T> {
    /// A rule of all projects.
    #[must_use]
    pub fn of_all(value: T) -> Self {
        Self { project: None, value }
    }
}

impl KeepOptions {
    pub(super) fn validate(&self) -> Result<(), InvalidOptions> {
        let twice = |option: &str, rules: Vec<Option<&ProjectId>>| {
            let is_twice = rules.iter().enumerate().any(|(index, rule)| rules[..index].contains(rule));
            let problem = format!("{option}: a project, or all projects, has two rules; give one");
            if is_twice { Err(InvalidOptions(problem)) } else { Ok(()) }
        };
        twice("--retain-for", self.retain_for.iter().map(|rule| rule.project.as_ref()).collect())?;
        twice("--retain-bytes", self.retain_bytes.iter().map(|rule| rule.project.as_ref()).collect())
    }

    /// The retention of a project.
    #[must_use]
    pub fn of(&self, project: &ProjectId) -> Retention {
        Retention {
            default: rules(&self.retain_for, project).next().unwrap_or_default(),
            by_status: rules(&self.retain_status, project).collect(),
            by_type: rules(&self.retain_type, project).collect(),
            max_bytes: rules(&self.retain_bytes, project).next(),
        }
    }

    /// Whether any rule removes events.
    #[must_use]
    pub fn removes(&self) -> bool {
        let (by_age, by_type) = (!self.retain_for.is_empty(), !self.retain_type.is_empty());
        by_age || by_type || !self.retain_status.is_empty() || !self.retain_bytes.is_empty()
    }
}

/// The rules of a project, then those of all projects.
fn rules<T: Clone>(rules: &[Rule<T>], project: &ProjectId) -> impl Iterator<Item = T> {
    let own = rules.iter().filter(move |rule| rule.project.as_ref() == Some(project));
    own.chain(rules.iter().filter(|rule| rule.project.is_none())).map(|rule| rule.value.clone())
}

fn age_rule(text: &str) -> Result<Rule<Keep>, String> {
    rule(text, age)
}

fn type_rule(text: &str) -> Result<Rule<(TypePattern, Keep)>, String> {
    rule(text, |text| {
        let (pattern, keep) = assigned(text)?;
        Ok((TypePattern::parse("type", pattern).map_err(|error| error.to_string())?, keep))
    })
}

fn status_rule(text: &str) -> Result<Rule<(RunStatus, Keep)>, String> {
    rule(text, |text| {
        let (name, keep) = assigned(text)?;
        let status = RunStatus::ALL.into_iter().find(|status| status.to_string() == name);
        Ok((status.ok_or_else(|| format!("{name:?} is no status such as FAILED"))?, keep))
    })
}

fn bytes_rule(text: &str) -> Result<Rule<u64>, String> {
    rule(text, |text| {
        text.parse().ok().filter(|bytes| *bytes > 0).ok_or_else(|| format!("{text:?} is no number of bytes from 1"))
    })
}

fn rule<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Rule<T>, String> {
    let (value, project) = match text.rsplit_once('@') {
        Some((value, project)) => (value, Some(ProjectId::parse(project).map_err(|error| error.to_string())?)),
        None => (text, None),
    };
    Ok(Rule { project, value: parse(value)? })
}

fn assigned(text: &str) -> Result<(&str, Keep), String> {
    let (name, keep) = text.rsplit_once('=').ok_or_else(|| format!("{text:?} has no `=` before its age"))?;
    Ok((name, age(keep)?))
}

fn bounded_age(text: &str) -> Result<Duration, String> {
    match age(text)? {
        Keep::For(age) => Ok(age),
        Keep::Forever => Err("leave the option out to keep deltas for ever".to_owned()),
    }
}

fn age(text: &str) -> Result<Keep, String> {
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    if text == "forever" {
        return Ok(Keep::Forever);
    }
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let parsed = match days {
        Some(days) => Some(Duration::from_secs(u64::from(days) * DAY_SECONDS)),
        None => text.parse::<SignedDuration>().ok().and_then(|age| Duration::try_from(age).ok()),
    };
    let age = parsed.filter(|age| !age.is_zero() && age.as_secs() <= 100 * 366 * DAY_SECONDS);
    age.map(Keep::For).ok_or_else(|| format!("{text:?} is no age such as 90d, 36h or forever"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> KeepOptions {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            keeping: KeepOptions,
        }
        let args = ["serve"].into_iter().chain(args.iter().copied());
        <Only as clap::Parser>::try_parse_from(args).unwrap().keeping
    }

    fn days(days: u64) -> Keep {
        Keep::For(Duration::from_secs(days * 24 * 60 * 60))
    }

    #[test]
    fn a_rule_of_a_project_goes_before_those_of_all_and_a_type_before_a_status() {
        let options = options(&[
            "--retain-for=365d,30d@demo",
            "--retain-type=step.progress=1d,a=b=forever@demo,step.*=36h@demo",
            "--retain-status=FAILED=90d",
        ]);
        let (demo, other) = (options.of(&ProjectId::parse("demo").unwrap()), options.of(&ProjectId::default()));
        assert_eq!(other.keep("step.progress", RunStatus::Failed), days(1));
        assert_eq!(demo.keep("step.progress", RunStatus::Failed), Keep::For(Duration::from_secs(36 * 60 * 60)));
        assert_eq!((demo.keep("x", RunStatus::Failed), demo.keep("x", RunStatus::Running)), (days(90), days(30)));
        assert_eq!(
            (demo.keep("a=b", RunStatus::Failed), other.keep("a=b", RunStatus::Running)),
            (Keep::Forever, days(365))
        );
        assert_eq!(
            (other.shortest(), other.longest()),
            (Some(Duration::from_secs(86_400)), Some(Duration::from_secs(365 * 86_400)))
        );
        assert_eq!(demo.longest(), None);
        assert!(options.removes());
    }

    #[test]
    fn without_a_rule_nothing_is_removed() {
        let options = options(&[]);
        assert!(!options.removes() && !options.of(&ProjectId::default()).removes());
        assert_eq!(options.of(&ProjectId::default()).keep("x", RunStatus::Failed), Keep::Forever);
    }

    #[test]
    fn malformed_rules_are_refused_with_what_to_write() {
        for bad in ["", "0d", "-1h", "1", "30d@De mo", "9999999d", "d"] {
            assert!(age_rule(bad).is_err(), "{bad:?}");
        }
        assert!(type_rule("a").is_err() && type_rule("=1d").is_err() && type_rule("a*b=1d").is_err());
        assert!(status_rule("LOST=1d").is_err() && bytes_rule("0").is_err() && bytes_rule("1k").is_err());
        assert!(options(&["--retain-for=1d,2d"]).validate().is_err());
        assert!(options(&["--retain-for=1d,2d@a"]).validate().is_ok());
    }
}
