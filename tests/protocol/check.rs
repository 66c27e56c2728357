//! Checking a model state by state.

use std::fmt::Debug;
use std::hash::Hash;

use stateright::{Checker, HasDiscoveries, Model};

/// Asserts that all promises hold in every state, and that what should be possible is.
/// `representative` is the same for states that differ in names only.
#[track_caller]
pub fn assert_holds<M>(model: M, representative: fn(&M::State) -> M::State)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let checker = model.checker().threads(2);
    let checker = checker.symmetry_fn(representative).spawn_dfs().join();
    checker.assert_properties();
    // Under `--nocapture`, for the figures of the docs.
    println!("{} states", checker.unique_state_count());
}

/// Asserts that a promise can be broken, and shows one of the shortest ways to it.
#[track_caller]
pub fn assert_breaks<M>(model: M, promise: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq + Send + Sync,
{
    let found = HasDiscoveries::AnyOf([promise].into());
    let checker = model.checker().finish_when(found).spawn_bfs().join();
    let Some(path) = checker.discovery(promise) else {
        panic!("\"{promise}\" holds in spite of the bug");
    };
    println!("not \"{promise}\": {:#?}", path.into_actions());
}
