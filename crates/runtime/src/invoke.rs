//! Calls of exported functions with values.
//!
//! A call runs in whoever waits for it, without a task of its own: what a component calls in the same process costs no
//! switch between threads. Only what is left to do after the result gets a task.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::call::{Failure, Fate, Readers, bounded, in_its_lane};
use crate::error::CallError;
use crate::exports::full_name;
use crate::instance::Instance;
use crate::reserve::{Hold, Reserved};
use crate::served::Inner;
use crate::values::{CodecError, FunctionType, Values};

impl Reserved {
    /// Calls an exported function. Streams in the result keep its instance alive until each of them ended; dropping
    /// the future, or a stream before its end, ends the instance at once.
    ///
    /// The types of `function` must be those of the export: compare [`FunctionType::text`] where they come from another
    /// component.
    ///
    /// # Errors
    ///
    /// Where the component has no such function, takes too long or fails before its result.
    pub async fn call(self, function: &Arc<FunctionType>, parameters: Values) -> Result<Values, CallError> {
        let (served, allowed) = (self.served.clone(), self.allowed);
        let position = served.compiled.0.exports.position(function);
        let position = position.ok_or_else(|| unknown(&served, function))?;
        let fate = Arc::new(Fate::default());
        let work = answer(self, position, parameters, fate.clone());
        in_its_lane(&served, &fate, work).await.map_err(|failure| failure.describe(&served, &fate, allowed))
    }

    /// Calls an exported function with parameters in WAVE, and answers its result in WAVE and in JSON.
    ///
    /// # Errors
    ///
    /// As [`Reserved::call`], and where the text is no parameters of the function.
    pub async fn call_wave(
        self,
        function: &Arc<FunctionType>,
        parameters: &str,
    ) -> Result<(String, String), CallError> {
        let id = self.served.id.clone();
        let bad_value = |error: CodecError| CallError::BadValue { id: id.clone(), reason: error.to_string() };
        let values = function.parameters_from_wave(parameters).map_err(bad_value)?;
        let results = self.call(function, values).await?;
        function.results_to_text(&results).map_err(bad_value)
    }
}

fn unknown(served: &Inner, function: &FunctionType) -> CallError {
    let (interface, name) = (function.interface(), function.name());
    let id = served.id.clone();
    match served.compiled.0.exports.refusal(interface, name) {
        Some(reason) => CallError::BadValue { id, reason: reason.to_owned() },
        None => CallError::NotExported { id, interface: full_name(interface, name) },
    }
}

async fn answer(
    place: Reserved,
    position: usize,
    parameters: Values,
    fate: Arc<Fate>,
) -> Result<Values, Failure> {
    let deadline = place.context.deadline;
    let (hold, served, mut instance) = place.enter(fate.clone());
    let called = async {
        let (function, export) = served.compiled.0.exports.at(position);
        instance.call(&served, function, export, parameters).await.map_err(Failure::Failed)
    };
    let (mut values, quiet) = bounded(&served, deadline, called).await?;
    if values.has_streams() {
        let (readers, gone) = Readers::new();
        values.keep_alive(&readers);
        drop(readers);
        finish(hold, served, instance, deadline, Some(gone), fate);
    } else if quiet {
        served.keep(instance);
        drop(hold);
    } else {
        finish(hold, served, instance, deadline, None, fate);
    }
    Ok(values)
}

/// Gives what an instance still does a task.
fn finish(
    hold: Hold,
    served: Arc<Inner>,
    instance: Instance,
    deadline: Instant,
    readers_gone: Option<oneshot::Receiver<bool>>,
    fate: Arc<Fate>,
) {
    let rest = rest(hold, served.clone(), instance, deadline, readers_gone);
    tokio::spawn(async move {
        if let Err(failure) = in_its_lane(&served, &fate, rest).await {
            tracing::debug!(component = %served.id, ?failure, "an instance failed after its result");
        }
    });
}

/// What an instance still does when its result is out: it writes its streams, and comes to its own end.
async fn rest(
    hold: Hold,
    served: Arc<Inner>,
    mut instance: Instance,
    deadline: Instant,
    readers_gone: Option<oneshot::Receiver<bool>>,
) -> Result<(), Failure> {
    let left = async {
        if let Some(gone) = readers_gone {
            let left_early = instance.run_until(gone).await.map_err(Failure::Failed)?;
            if left_early.unwrap_or(true) {
                return Err(Failure::Ended);
            }
        }
        instance.settle().await.map_err(Failure::Failed)
    };
    let ended = bounded(&served, deadline, left).await;
    match ended {
        Ok(()) => served.keep(instance),
        Err(_) => drop(instance),
    }
    drop(hold);
    ended
}
