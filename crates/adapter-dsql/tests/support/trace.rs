//! Spans and events, as a subscriber at level TRACE sees them.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use tracing::{
    Dispatch, Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt, registry::LookupSpan};

/// The fields of a span or an event, as text; an event's text is its field `message`.
#[derive(Clone, Debug, Default)]
pub struct Fields(BTreeMap<&'static str, String>);

impl Fields {
    /// The field's value, or nothing.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

#[derive(Clone, Debug)]
pub struct Span {
    pub name: &'static str,
    /// Its place among all spans.
    pub parent: Option<usize>,
    pub fields: Fields,
}

#[derive(Clone, Debug)]
pub struct Log {
    pub level: tracing::Level,
    pub target: String,
    pub fields: Fields,
}

#[derive(Debug, Default)]
struct Recorded {
    spans: Vec<Span>,
    events: Vec<Log>,
}

/// The spans and events recorded on this thread.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Recorded>>);

/// The place of a span in [`Recorded`].
struct SpanIndex(usize);

/// Unused subscribers that exist as long as the process.
///
/// With only one subscriber, `tracing` switches a callsite off for all threads if a thread without
/// a subscriber reaches it first.
static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();

impl Trace {
    /// Records everything on this thread until the guard is dropped.
    pub fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        OTHERS.get_or_init(|| [(); 2].map(|()| Dispatch::new(tracing_subscriber::registry())));
        let trace = Self::default();
        let guard =
            tracing::subscriber::set_default(tracing_subscriber::registry().with(trace.clone()));
        (trace, guard)
    }

    fn seen(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap()
    }

    pub fn clear(&self) {
        self.seen().events.clear();
    }

    pub fn spans(&self) -> Vec<Span> {
        self.seen().spans.clone()
    }

    pub fn events(&self) -> Vec<Log> {
        self.seen().events.clone()
    }

    /// How many events say `message`.
    pub fn count(&self, message: &str) -> usize {
        self.events().iter().filter(|event| event.fields.get("message") == message).count()
    }

    /// All of it as text.
    pub fn text(&self) -> String {
        format!("{:?}", self.seen())
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Trace {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent =
            span.parent().and_then(|parent| parent.extensions().get::<SpanIndex>().map(|at| at.0));
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let mut seen = self.seen();
        span.extensions_mut().insert(SpanIndex(seen.spans.len()));
        seen.spans.push(Span { name: attributes.metadata().name(), parent, fields });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let place = span.extensions().get::<SpanIndex>().unwrap().0;
        values.record(&mut self.seen().spans[place].fields);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (level, target) = (*event.metadata().level(), event.metadata().target().to_owned());
        self.seen().events.push(Log { level, target, fields });
    }
}
