//! Calls that are sent when they are awaited.

use std::future::Future;
use std::pin::Pin;

use crate::error::Error;

/// A call that waits for the database.
pub(crate) type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Lets `store.create().user(42).await` send the call.
macro_rules! sent_when_awaited {
    ($call:ident -> $output:ty) => {
        impl<'a, E: $crate::database::Executor> IntoFuture for $call<'a, E> {
            type Output = Result<$output, $crate::error::Error>;
            type IntoFuture = $crate::call::Call<'a, $output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.send())
            }
        }

        $crate::call::debug_without_fields!($call<'_, E>);
    };
}
pub(crate) use sent_when_awaited;

/// A `Debug` that shows neither keys nor data.
macro_rules! debug_without_fields {
    ($type:ident<$($argument:tt),+>) => {
        impl<E> std::fmt::Debug for $type<$($argument),+> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type)).finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use debug_without_fields;
