//! Many random schedules, under shuttle.
