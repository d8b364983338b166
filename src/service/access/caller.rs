//! A caller: what the service asks before it serves a request.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::audit::{self, Refusals};
use super::key_limits::KeyLimits;
use crate::domain::access::{Key, KeyProblem, StreamToken};
use crate::domain::{Error, KeyId, KeyScope, KeyScopes, ProjectId, Result, RunId, Scope};
use crate::store::ProjectNumber;

/// Who makes a request, and what the request may do. A clone is cheap, and ends together with the others.
#[derive(Clone, Debug)]
pub struct Caller {
    holder: Arc<Holder>,
    /// Address of the connection; `None` in this process.
    address: Option<IpAddr>,
    /// What a stream token leaves of what the holder may do; `None`: all.
    token: Option<Arc<Bounds>>,
}

/// A project, by its id and by its number in the store.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// Id for people and keys.
    pub id: ProjectId,
    /// Number of the store.
    pub number: ProjectNumber,
}

/// The holder of a key, shared by all its requests.
#[derive(Debug)]
struct Holder {
    key_id: Option<KeyId>,
    project: Project,
    scopes: KeyScopes,
    /// Known without the store, so that streams end in time while the store does not answer.
    expires_at: Option<Timestamp>,
    ended: CancellationToken,
    problem: OnceLock<KeyProblem>,
    /// Refusals recorded lately.
    refusals: Refusals<KeyScope>,
    limits: KeyLimits,
}

/// What the bearer of a stream token may do: these scopes, for reading one run.
#[derive(Debug)]
struct Bounds {
    run_id: RunId,
    scopes: KeyScopes,
}

/// What a caller may do, for the caller.
#[derive(Clone, Debug)]
pub struct CallerDescription {
    /// Id of the key; `None`: the server needs no keys.
    pub key_id: Option<KeyId>,
    /// Project of all runs that the caller reads and writes.
    pub project: ProjectId,
    /// Everything that the caller may do.
    pub scopes: KeyScopes,
    /// Time from which on the key is refused; `None`: never.
    pub expires_at: Option<Timestamp>,
}

impl Caller {
    fn new(
        key_id: Option<KeyId>,
        project: Project,
        scopes: KeyScopes,
        expires_at: Option<Timestamp>,
        limits: KeyLimits,
    ) -> Self {
        let (ended, problem, refusals) = (CancellationToken::new(), OnceLock::new(), Refusals::default());
        let holder = Holder { key_id, project, scopes, expires_at, ended, problem, refusals, limits };
        Self { holder: Arc::new(holder), address: None, token: None }
    }

    /// A caller in this process, in the project `default`: everything is allowed.
    #[must_use]
    pub fn local() -> Self {
        Self::local_in(Project::default())
    }

    /// A caller in this process, in this project: everything is allowed.
    #[must_use]
    pub fn local_in(project: Project) -> Self {
        Self::new(None, project, KeyScopes::all(), None, KeyLimits::default())
    }

    /// A request without a key, to a server that needs none: everything but the management of keys is allowed, so that the
    /// first key of a store is made by somebody who owns the store.
    #[must_use]
    pub fn keyless() -> Self {
        let scopes = KeyScope::ALL.into_iter().filter(|scope| *scope != KeyScope::Admin).collect();
        Self::new(None, Project::default(), scopes, None, KeyLimits::default())
    }

    /// A request that is not authenticated: nothing is allowed.
    #[must_use]
    pub fn unauthenticated() -> Self {
        let caller = Self::new(None, Project::default(), KeyScopes::default(), None, KeyLimits::default());
        caller.end(KeyProblem::Missing);
        caller
    }

    /// The holder of a key of the project with this number, within these limits.
    #[must_use]
    pub fn of(key: &Key, number: ProjectNumber, limits: KeyLimits) -> Self {
        let project = Project { id: key.project.clone(), number };
        Self::new(Some(key.key_id.clone()), project, key.scopes, key.expires_at, limits)
    }

    /// The bearer of a stream token that this caller asked for, who ends with this caller. Fails with `Unauthenticated` if the
    /// token is of another project.
    pub fn bearer_of(&self, token: &StreamToken) -> Result<Self> {
        if *self.project() != token.project {
            return Err(Error::Unauthenticated(KeyProblem::TokenInvalid));
        }
        let bounds = Bounds { run_id: token.run_id.clone(), scopes: token.scopes() };
        Ok(Self { token: Some(Arc::new(bounds)), ..self.clone() })
    }

    /// The same caller at this address.
    #[must_use]
    pub fn at(self, address: IpAddr) -> Self {
        Self { address: Some(address), ..self }
    }

    /// Address of the connection; `None` in this process.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Describes the caller to itself. Fails with `Unauthenticated` if the key has ended, with `OutsideToken` for the bearer of a
    /// stream token.
    pub fn describe(&self) -> Result<CallerDescription> {
        self.check()?;
        if self.token.is_some() {
            return Err(Error::OutsideToken);
        }
        let Holder { key_id, project, scopes, expires_at, .. } = &*self.holder;
        let (key_id, project) = (key_id.clone(), project.id.clone());
        Ok(CallerDescription { key_id, project, scopes: *scopes, expires_at: *expires_at })
    }

    /// Id of the key; `None` for a local caller.
    #[must_use]
    pub fn key_id(&self) -> Option<&KeyId> {
        self.holder.key_id.as_ref()
    }

    /// The project of all runs that the caller reads and writes.
    #[must_use]
    pub fn project(&self) -> &ProjectId {
        &self.holder.project.id
    }

    /// Whether that project is another one than `default`, the project of those who run the server.
    #[must_use]
    pub fn is_of_another_project(&self) -> bool {
        *self.project() != ProjectId::default()
    }

    /// Number of that project in the store.
    #[must_use]
    pub fn project_number(&self) -> ProjectNumber {
        self.holder.project.number
    }

    /// Whether the caller has no key, and no stream token of such a caller.
    #[must_use]
    pub fn is_keyless(&self) -> bool {
        self.key_id().is_none() && self.token.is_none()
    }

    /// Whether the caller has this scope.
    #[must_use]
    pub fn has(&self, scope: KeyScope) -> bool {
        self.holder.scopes.has(scope) && self.token.as_ref().is_none_or(|token| token.scopes.has(scope))
    }

    /// Fails with `Unauthenticated` if the key has ended, with `ScopeMissing` if the key lacks the scope, and with `OutsideToken`
    /// for the bearer of a stream token, whatever it allows: only [`require_read`](Self::require_read) and
    /// [`require_full_view`](Self::require_full_view) let that one pass.
    pub fn require(&self, scope: KeyScope) -> Result<()> {
        self.require_within(scope, self.token.is_none())
    }

    /// As [`require`](Self::require) of `admin`, for anything but keys: a caller without a key passes where the server asks for
    /// none, whatever keys the store holds.
    pub fn require_admin(&self) -> Result<()> {
        if self.is_keyless() { self.check() } else { self.require(KeyScope::Admin) }
    }

    /// As [`require_admin`](Self::require_admin), for what concerns all projects. Fails with `DefaultProjectNeeded` for the holder of
    /// a key of another project.
    pub fn require_whole_store(&self) -> Result<()> {
        self.require_admin()?;
        if self.is_of_another_project() { Err(Error::DefaultProjectNeeded) } else { Ok(()) }
    }

    /// As [`require`](Self::require) of `events.read`, for reading this scope: the bearer of a stream token may read its run.
    pub fn require_read(&self, scope: &Scope) -> Result<()> {
        let is_within = match (&self.token, scope) {
            (None, _) => true,
            (Some(token), Scope::Run(run_id)) => *run_id == token.run_id,
            (Some(_), Scope::Feed) => false,
        };
        self.require_within(KeyScope::EventsRead, is_within)
    }

    /// As [`require`](Self::require) of `events.read_sensitive`, which a stream token may allow too.
    pub fn require_full_view(&self) -> Result<()> {
        self.require_within(KeyScope::EventsReadSensitive, true)
    }

    /// `is_within`: whether the stream token, if there is one, covers the request.
    fn require_within(&self, scope: KeyScope, is_within: bool) -> Result<()> {
        self.check()?;
        if is_within && self.has(scope) {
            return Ok(());
        }
        let error = match (self.key_id(), &self.token) {
            _ if !is_within => Error::OutsideToken,
            (None, None) => Error::Unauthenticated(KeyProblem::Missing),
            _ => Error::ScopeMissing { scope },
        };
        if self.holder.refusals.is_due(scope) {
            audit::refused(self.key_id().map(KeyId::as_str), self.address, &error);
        }
        Err(error)
    }

    /// Fails with `Unauthenticated` if the key has ended.
    pub fn check(&self) -> Result<()> {
        if self.holder.expires_at.is_some_and(|expires_at| expires_at <= Timestamp::now()) {
            self.end(KeyProblem::Expired);
        }
        match self.holder.problem.get() {
            Some(problem) => Err(Error::Unauthenticated(*problem)),
            None => Ok(()),
        }
    }

    /// Counts a request against the limit of the key. A refusal is to be answered after [`delay_refusal`](Self::delay_refusal).
    pub fn count_request(&self) -> Result<()> {
        self.limits().request()
    }

    /// Waits as long as a refusal of a key over its limit does, so that a caller that repeats at once costs the others little.
    pub async fn delay_refusal(&self) {
        self.limits().delay().await;
    }

    /// What the key has left of its limits; a local caller has none.
    pub(in crate::service) fn limits(&self) -> &KeyLimits {
        &self.holder.limits
    }

    /// Resolves when the key ends: streams end with it.
    pub async fn ended(&self) -> Error {
        let expiry = async {
            match self.holder.expires_at {
                Some(expires_at) => {
                    let left = expires_at.duration_since(Timestamp::now());
                    tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.holder.ended.cancelled() => {}
            () = expiry => self.end(KeyProblem::Expired),
        }
        Error::Unauthenticated(self.holder.problem.get().copied().unwrap_or(KeyProblem::Invalid))
    }

    /// Ends the caller and all open streams of the caller. The first problem stays.
    pub(super) fn end(&self, problem: KeyProblem) {
        if self.holder.problem.set(problem).is_ok() {
            self.holder.ended.cancel();
        }
    }

    /// Whether a request or a stream uses the caller, besides the cache.
    pub(super) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.holder) > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_without_a_key_manages_no_keys_and_does_all_else() {
        for scope in KeyScope::ALL {
            match Caller::keyless().require(scope) {
                Ok(()) => assert_ne!(scope, KeyScope::Admin),
                Err(error) => {
                    assert!(scope == KeyScope::Admin && matches!(error, Error::Unauthenticated(KeyProblem::Missing)));
                }
            }
        }
    }

    #[test]
    fn where_no_key_is_asked_for_a_caller_without_one_passes_for_an_admin_of_all_but_keys() {
        let keyless = Caller::keyless();
        keyless.require_admin().unwrap();
        keyless.require_whole_store().unwrap();
        assert!(keyless.require(KeyScope::Admin).is_err());
        let bearer = keyless.bearer_of(&token("r", true)).unwrap();
        assert!(matches!(bearer.require_admin().unwrap_err(), Error::OutsideToken));
        let refused = Caller::unauthenticated().require_admin().unwrap_err();
        assert!(matches!(refused, Error::Unauthenticated(KeyProblem::Missing)), "{refused}");
        let project = Project { id: ProjectId::parse("other").unwrap(), ..Project::default() };
        let other = Caller::new(
            Some(KeyId::parse("key_other").unwrap()),
            project,
            KeyScopes::all(),
            None,
            KeyLimits::default(),
        );
        other.require_admin().unwrap();
        assert!(matches!(other.require_whole_store().unwrap_err(), Error::DefaultProjectNeeded));
    }

    #[tokio::test]
    async fn a_caller_that_has_ended_may_do_nothing_and_says_why() {
        let caller = Caller::local();
        for scope in KeyScope::ALL {
            caller.require(scope).unwrap();
        }
        let stream = caller.clone();
        caller.end(KeyProblem::Revoked);
        caller.end(KeyProblem::Expired);
        assert!(matches!(stream.ended().await, Error::Unauthenticated(KeyProblem::Revoked)));
        for scope in KeyScope::ALL {
            let refused = stream.require(scope).unwrap_err();
            assert!(matches!(refused, Error::Unauthenticated(KeyProblem::Revoked)), "{refused}");
        }
    }

    fn token(run_id: &str, is_sensitive: bool) -> StreamToken {
        StreamToken {
            run_id: RunId::parse(run_id).unwrap(),
            project: ProjectId::default(),
            key_id: None,
            is_sensitive,
            expires_at: Timestamp::MAX,
        }
    }

    #[tokio::test]
    async fn the_bearer_of_a_stream_token_reads_its_run_and_ends_with_its_holder() {
        let run = |run_id: &str| Scope::Run(RunId::parse(run_id).unwrap());
        let holder = Caller::local();
        let bearer = holder.bearer_of(&token("r", false)).unwrap();
        bearer.require_read(&run("r")).unwrap();
        for scope in [run("s"), Scope::Feed] {
            let refused = bearer.require_read(&scope).unwrap_err();
            assert!(matches!(refused, Error::OutsideToken), "{refused}");
        }
        for scope in KeyScope::ALL {
            let refused = bearer.require(scope).unwrap_err();
            assert!(matches!(refused, Error::OutsideToken), "{scope}: {refused}");
        }
        let refused = bearer.require_full_view().unwrap_err();
        assert!(matches!(refused, Error::ScopeMissing { scope: KeyScope::EventsReadSensitive }), "{refused}");
        let auditor = holder.bearer_of(&token("r", true)).unwrap();
        auditor.require_full_view().unwrap();
        holder.end(KeyProblem::Revoked);
        for ended in [bearer, auditor] {
            assert!(matches!(ended.ended().await, Error::Unauthenticated(KeyProblem::Revoked)));
            let refused = ended.require_read(&run("r")).unwrap_err();
            assert!(matches!(refused, Error::Unauthenticated(KeyProblem::Revoked)), "{refused}");
        }
    }

    #[test]
    fn a_stream_token_allows_no_more_than_its_holder() {
        let scopes = [KeyScope::EventsPublish].into_iter().collect();
        let holder = Caller::new(None, Project::default(), scopes, None, KeyLimits::default());
        let bearer = holder.bearer_of(&token("r", true)).unwrap();
        assert!(KeyScope::ALL.into_iter().all(|scope| !bearer.has(scope)));
        let refused = bearer.require_read(&Scope::Run(RunId::parse("r").unwrap())).unwrap_err();
        assert!(matches!(refused, Error::ScopeMissing { scope: KeyScope::EventsRead }), "{refused}");
        let foreign = StreamToken { project: ProjectId::parse("other").unwrap(), ..token("r", true) };
        let refused = holder.bearer_of(&foreign).unwrap_err();
        assert!(matches!(refused, Error::Unauthenticated(KeyProblem::TokenInvalid)), "{refused}");
    }

    #[test]
    fn a_request_that_is_not_authenticated_may_do_nothing() {
        for scope in KeyScope::ALL {
            let refused = Caller::unauthenticated().require(scope).unwrap_err();
            assert!(matches!(refused, Error::Unauthenticated(KeyProblem::Missing)), "{refused}");
        }
    }
}
