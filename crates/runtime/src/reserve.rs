//! A place for one call: who gets it, who waits, and who is told that the component is busy.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::call::Fate;
use crate::compiled::Compiled;
use crate::context::{CallContext, MAX_DEPTH, TraceContext};
use crate::error::CallError;
use crate::instance::Instance;
use crate::permits::{Closed, Permit, Place};
use crate::served::{Inner, Served};

/// How long a call that another call waits for may wait itself while nothing moves.
const STANDSTILL: Duration = Duration::from_secs(1);

/// A place for one call: taken before the call is handed over, so that a call which finds no place is still whole and
/// may go elsewhere. Dropping it gives the place back.
pub struct Reserved {
    pub(crate) served: Arc<Inner>,
    room: Room,
    pub(crate) context: CallContext,
    /// The time that the call was given when it came.
    pub(crate) allowed: Duration,
    pub(crate) hold: Hold,
}

/// Where the call runs.
enum Room {
    /// In an instance that answered others before.
    Kept(Instance),
    /// In one that the engine still has to make.
    Empty(OwnedSemaphorePermit),
}

/// What a call holds while anything of it is left.
pub(crate) struct Hold {
    /// One of the component's concurrent calls.
    _permit: Permit,
    /// A drain waits for whoever wants or has a place.
    _counted: TaskTrackerToken,
}

impl std::fmt::Debug for Reserved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reserved").field("id", &self.served.id).finish_non_exhaustive()
    }
}

impl Reserved {
    /// What will answer.
    #[must_use]
    pub fn compiled(&self) -> &Compiled {
        &self.served.compiled
    }

    /// Replaces the trace context that the calls of this call get.
    pub fn set_trace(&mut self, trace: TraceContext) {
        self.context.trace = trace;
    }

    /// The instance, ready for the call, and what it holds. In this order, as what is bound last is dropped first: the
    /// place is given back when the instance is gone.
    pub(crate) fn enter(self, fate: Arc<Fate>) -> (Hold, Arc<Inner>, Instance) {
        let Self { served, room, context, hold, .. } = self;
        let instance = match room {
            Room::Kept(mut instance) => {
                instance.begin(&served, context, fate);
                instance
            }
            Room::Empty(room) => Instance::new(&served, context, fate, room),
        };
        (hold, served, instance)
    }
}

impl Served {
    /// A place that is free now; `None` where the call would have to wait.
    ///
    /// # Errors
    ///
    /// Where the component is being stopped, or the call is too late or too deep already.
    pub fn try_reserve(&self, context: &CallContext) -> Result<Option<Reserved>, CallError> {
        let arrival = Arrival::new(&self.0, context)?;
        let Some(permit) = self.0.permits.try_acquire().map_err(|Closed| self.0.stopping())? else {
            return Ok(None);
        };
        Ok(self.0.room_now().map(|room| arrival.admit(permit, room)))
    }

    /// Waits for a place among the component's concurrent calls. The call's time runs from here: what is left of its
    /// context's, and at most what the component may take.
    ///
    /// A call that another call waits for doesn't wait long where nothing moves, because all of the component's calls
    /// wait for others themselves: it may be one of these that it would wait for.
    ///
    /// # Errors
    ///
    /// Where the component is busy or being stopped, no place came free in time, or the call is too deep.
    pub async fn reserve(&self, context: &CallContext) -> Result<Reserved, CallError> {
        let arrival = Arrival::new(&self.0, context)?;
        let nested = context.depth > 0;
        let (deadline, after) = (arrival.deadline, arrival.allowed);
        let admitted = tokio::time::timeout_at(deadline, self.0.admit(nested)).await;
        let (permit, room) =
            admitted.unwrap_or_else(|_| Err(CallError::Timeout { id: self.0.id.clone(), after }))?;
        Ok(arrival.admit(permit, room))
    }

    /// How full the component is: 0 where nothing runs, 900 where as many calls run as may, up to 1000 as more wait.
    #[must_use]
    pub fn load(&self) -> u16 {
        self.0.permits.load()
    }
}

/// A call that came and has no place yet.
struct Arrival<'a> {
    served: &'a Arc<Inner>,
    context: &'a CallContext,
    counted: TaskTrackerToken,
    deadline: Instant,
    allowed: Duration,
}

impl<'a> Arrival<'a> {
    fn new(served: &'a Arc<Inner>, context: &'a CallContext) -> Result<Self, CallError> {
        if context.depth > MAX_DEPTH {
            return Err(CallError::TooDeep { id: served.id.clone(), depth: context.depth });
        }
        let counted = served.calls.token();
        let now = Instant::now();
        let left = context.deadline.saturating_duration_since(now);
        let allowed = left.min(served.limits.max_execution_time);
        Ok(Self { served, context, counted, deadline: now + allowed, allowed })
    }

    fn admit(self, permit: Permit, room: Room) -> Reserved {
        let Self { served, context, counted, deadline, allowed } = self;
        Reserved {
            served: served.clone(),
            room,
            context: CallContext { deadline, ..context.clone() },
            allowed,
            hold: Hold { _permit: permit, _counted: counted },
        }
    }
}

impl Inner {
    fn stopping(&self) -> CallError {
        CallError::Stopping { id: self.id.clone() }
    }

    /// An instance that waits for a call, or room for a new one.
    fn room_now(&self) -> Option<Room> {
        if let Some(instance) = self.idle.take() {
            return Some(Room::Kept(instance));
        }
        self.instances.clone().try_acquire_owned().ok().map(Room::Empty)
    }

    /// One of the component's concurrent calls, and room for it. Who must wait for either has a place in the bounded
    /// queue.
    async fn admit(&self, nested: bool) -> Result<(Permit, Room), CallError> {
        let (permit, _place) = match self.permits.try_acquire().map_err(|Closed| self.stopping())? {
            Some(permit) => {
                if let Some(room) = self.room_now() {
                    return Ok((permit, room));
                }
                (permit, self.queue()?)
            }
            None => {
                let place = self.queue()?;
                let acquire = self.permits.acquire();
                let permit = if nested { self.unless_standstill(acquire).await? } else { acquire.await };
                (permit.map_err(|Closed| self.stopping())?, place)
            }
        };
        if let Some(room) = self.room_now() {
            return Ok((permit, room));
        }
        let room = self.instances.clone().acquire_owned();
        let room = if nested {
            tokio::time::timeout(STANDSTILL, room)
                .await
                .map_err(|_| self.busy("no instance came free on this host"))?
        } else {
            room.await
        };
        Ok((permit, Room::Empty(room.map_err(|_| self.stopping())?)))
    }

    /// Waits for `event`, but not while no call ends and all that run wait for calls of their own.
    async fn unless_standstill<T>(&self, event: impl Future<Output = T>) -> Result<T, CallError> {
        let mut event = pin!(event);
        loop {
            let ended = self.permits.ended();
            if let Ok(output) = tokio::time::timeout(STANDSTILL, event.as_mut()).await {
                return Ok(output);
            }
            let all_wait = self.waiting_calls.load(Ordering::Relaxed) >= self.permits.running();
            if all_wait && self.permits.ended() == ended {
                return Err(self.busy("all of its calls wait for calls of their own"));
            }
        }
    }

    fn queue(&self) -> Result<Place<'_>, CallError> {
        self.permits.queue().ok_or_else(|| {
            let (running, waiting) = (self.permits.count(), self.limits.max_queued_calls);
            self.busy(format!("{running} calls may run and {waiting} may wait, and as many do"))
        })
    }

    fn busy(&self, reason: impl Into<String>) -> CallError {
        CallError::Busy { id: self.id.clone(), reason: reason.into() }
    }
}
