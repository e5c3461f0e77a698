//! What a check of a contract says.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rareclip_core::BoxError;

/// A promise of a contract that a component does not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The component, e.g. "bank `window`".
    pub component: String,
    /// The promise.
    pub promise: &'static str,
    /// What was found instead.
    pub found: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the {} breaks a promise: {}; {}",
            self.component, self.promise, self.found
        )
    }
}

impl std::error::Error for Broken {}

/// What a promise says of a component.
pub(crate) type Held = Result<(), String>;

/// One part of a contract about a `T`.
pub(crate) struct Promise<T> {
    pub(crate) says: &'static str,
    pub(crate) holds: fn(&T) -> Held,
}

/// Holds `subject` to every promise.
pub(crate) fn keep<T>(component: &str, subject: &T, promises: &[Promise<T>]) -> Result<(), Broken> {
    promises
        .iter()
        .try_for_each(|promise| kept(component, promise.says, || (promise.holds)(subject)))
}

/// The result of `holds`; a panic breaks the promise under which it happened.
pub(crate) fn kept<R>(
    component: &str,
    promise: &'static str,
    holds: impl FnOnce() -> Result<R, String>,
) -> Result<R, Broken> {
    let held = catch_unwind(AssertUnwindSafe(holds)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Err(format!("it panics: {}", text.unwrap_or_default()))
    });
    held.map_err(|found| Broken {
        component: component.to_owned(),
        promise,
        found,
    })
}

/// An error of a step that should have gone well.
pub(crate) fn told<E: fmt::Display>(step: impl fmt::Display) -> impl Fn(E) -> String {
    move |error| format!("{step} fails: {error}")
}

/// That a step which should not have gone well ended in an error that says why.
pub(crate) fn refused<T>(result: Result<T, BoxError>, step: impl fmt::Display) -> Held {
    match result {
        Err(error) if error.to_string().trim().is_empty() => {
            Err(format!("{step} is refused without saying why"))
        }
        Err(_) => Ok(()),
        Ok(_) => Err(format!("{step} is accepted")),
    }
}
