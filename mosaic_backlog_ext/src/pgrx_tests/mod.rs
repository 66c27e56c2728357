//! Behaviour inside one session, one file a subject.
