//! Policies call `current_user_id()` and `current_session_id()` once per statement.
//!
//! In a query that row-level security applies to, each call is planned as `(SELECT call)`, together
//! with the casts around it. PostgreSQL computes such a sub-select when it is first needed, in the
//! leader, and passes the result to parallel workers. Without this, a sequential scan would call
//! the function and cast its result for each row, and could not be parallel.
//!
//! The query is changed before PostgreSQL plans it, to one that a user could have written. A
//! support function (SupportRequestSimplify) comes too late for that: the planner calls it for
//! parts of a sub-query with the state of the outer query (`convert_EXISTS_to_ANY` in
//! `subselect.c`), and never asks it about the cast around the call.

use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};

const FUNCTIONS: [&CStr; 2] = [c"current_user_id", c"current_session_id"];
const SCHEMA: &CStr = c"qsessions";

thread_local! {
    static PREVIOUS: Cell<pg_sys::planner_hook_type> = const { Cell::new(None) };
}

/// Registers the planner hook.
pub(super) fn init() {
    // SAFETY: hooks are set while the library is loaded, by the only thread.
    unsafe {
        PREVIOUS.set(pg_sys::planner_hook);
        pg_sys::planner_hook = Some(plan);
    }
}

type Walker = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> bool;
type Mutator = unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut c_void) -> *mut pg_sys::Node;

// PostgreSQL's own functions. pgrx would turn an error that is raised while a query is planned into
// a panic and back: an SQLSTATE that is not PostgreSQL's own would become XX000, and at each level
// of a deep expression, a stack that is too deep would be unwound anew, for minutes. So errors jump
// over the functions that are called here and those that call them, which have nothing to drop.
unsafe extern "C-unwind" {
    fn standard_planner(
        query: *mut pg_sys::Query,
        text: *const c_char,
        options: c_int,
        parameters: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;

    #[cfg_attr(
        not(any(feature = "pg14", feature = "pg15")),
        link_name = "query_tree_walker_impl"
    )]
    fn query_tree_walker(
        query: *mut pg_sys::Query,
        walker: Walker,
        context: *mut c_void,
        flags: c_int,
    ) -> bool;
    #[cfg_attr(
        not(any(feature = "pg14", feature = "pg15")),
        link_name = "expression_tree_walker_impl"
    )]
    fn expression_tree_walker(
        node: *mut pg_sys::Node,
        walker: Walker,
        context: *mut c_void,
    ) -> bool;
    #[cfg_attr(
        not(any(feature = "pg14", feature = "pg15")),
        link_name = "query_tree_mutator_impl"
    )]
    fn query_tree_mutator(
        query: *mut pg_sys::Query,
        mutator: Mutator,
        context: *mut c_void,
        flags: c_int,
    ) -> *mut pg_sys::Query;
    #[cfg_attr(
        not(any(feature = "pg14", feature = "pg15")),
        link_name = "expression_tree_mutator_impl"
    )]
    fn expression_tree_mutator(
        node: *mut pg_sys::Node,
        mutator: Mutator,
        context: *mut c_void,
    ) -> *mut pg_sys::Node;
}

/// The hook. It has nothing to drop, because an error of PostgreSQL jumps over it.
unsafe extern "C-unwind" fn plan(
    query: *mut pg_sys::Query,
    text: *const c_char,
    options: c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: PostgreSQL passes what its planner takes.
    unsafe {
        if (*query).hasRowSecurity {
            call_once(query);
        }
        let next = PREVIOUS.get().unwrap_or(standard_planner);
        next(query, text, options, parameters)
    }
}

/// Changes a query that is about to be planned.
unsafe fn call_once(query: *mut pg_sys::Query) {
    // SAFETY: the planner may change its query, and so may a hook before it.
    unsafe {
        if contains_call(query) {
            let mut level = Level::of(query);
            mutate_query(query, &raw mut level, pg_sys::QTW_DONT_COPY_QUERY as c_int);
            (*query).hasSubLinks |= level.has_sublinks;
        }
    }
}

/// A query or sub-query whose expressions are being changed.
struct Level {
    /// Whether it reads a table. An expression without one, such as in PL/pgSQL, is evaluated once
    /// anyway.
    reads_table: bool,
    /// Whether it has got a sub-select.
    has_sublinks: bool,
}

impl Level {
    unsafe fn of(query: *mut pg_sys::Query) -> Self {
        // SAFETY: the range table is null, or a list of entries.
        let reads_table = unsafe {
            (*query).rtable.as_ref().is_some_and(|entries| {
                (0..entries.length as usize).any(|number| {
                    let entry = (*entries.elements.add(number)).ptr_value;
                    (*entry.cast::<pg_sys::RangeTblEntry>()).rtekind
                        == pg_sys::RTEKind::RTE_RELATION
                })
            })
        };
        Self {
            reads_table,
            has_sublinks: false,
        }
    }
}

unsafe fn contains_call(query: *mut pg_sys::Query) -> bool {
    // SAFETY: the walker is called with nodes of the query.
    unsafe { query_tree_walker(query, find_call, std::ptr::null_mut(), 0) }
}

unsafe extern "C-unwind" fn find_call(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: PostgreSQL passes a node, or null.
    unsafe {
        if node.is_null() {
            false
        } else if (*node).type_ == NodeTag::T_Query {
            contains_call(node.cast())
        } else {
            is_call(node) || expression_tree_walker(node, find_call, context)
        }
    }
}

/// Puts calls into sub-selects.
unsafe extern "C-unwind" fn replace_calls(
    node: *mut pg_sys::Node,
    context: *mut c_void,
) -> *mut pg_sys::Node {
    // SAFETY: PostgreSQL passes a node, or null, and the context that it was given.
    unsafe {
        if node.is_null() {
            return node;
        }
        let level = context.cast::<Level>();
        match (*node).type_ {
            NodeTag::T_Query => {
                let mut inner = Level::of(node.cast());
                let query = mutate_query(node.cast(), &raw mut inner, 0);
                (*query).hasSubLinks |= inner.has_sublinks;
                query.cast()
            }
            // A function in FROM is called once as it is, and a sub-select in its arguments would
            // keep an SQL function from being inlined. ON CONFLICT must find its index.
            NodeTag::T_RangeTblFunction | NodeTag::T_OnConflictExpr => node,
            _ if (*level).reads_table && is_cast_call(node) => {
                (*level).has_sublinks = true;
                sub_select(node)
            }
            _ => expression_tree_mutator(node, replace_calls, context),
        }
    }
}

/// Whether a node is a call of one of the functions.
unsafe fn is_call(node: *mut pg_sys::Node) -> bool {
    // SAFETY: the tag tells the type of the node.
    unsafe {
        if (*node).type_ != NodeTag::T_FuncExpr {
            return false;
        }
        let call = &*node.cast::<pg_sys::FuncExpr>();
        call.args.is_null()
            && call.funcid.to_u32() >= pg_sys::FirstNormalObjectId
            && is_function(call)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn is_function(call: &pg_sys::FuncExpr) -> bool {
    // SAFETY: names in the catalogue end with NUL.
    unsafe {
        let name = pg_sys::get_func_name(call.funcid);
        if name.is_null() || !FUNCTIONS.contains(&CStr::from_ptr(name)) {
            return false;
        }
        let schema = pg_sys::get_namespace_name(pg_sys::get_func_namespace(call.funcid));
        !schema.is_null() && CStr::from_ptr(schema) == SCHEMA
    }
}

/// Whether a node is such a call, or a cast of one.
unsafe fn is_cast_call(node: *mut pg_sys::Node) -> bool {
    // SAFETY: the tag tells the type of the node.
    unsafe {
        match (*node).type_ {
            NodeTag::T_CoerceViaIO => {
                is_cast_call((*node.cast::<pg_sys::CoerceViaIO>()).arg.cast())
            }
            NodeTag::T_RelabelType => {
                is_cast_call((*node.cast::<pg_sys::RelabelType>()).arg.cast())
            }
            _ => is_call(node),
        }
    }
}

/// `(SELECT expression)`. The expression refers to no column.
#[pg_guard]
unsafe extern "C-unwind" fn sub_select(expression: *mut pg_sys::Node) -> *mut pg_sys::Node {
    // SAFETY: the nodes are allocated in the memory in which PostgreSQL plans, and are zeroed, which
    // stands for an empty list, false, and so on.
    unsafe {
        let column = pg_sys::makeTargetEntry(
            pg_sys::copyObjectImpl(expression.cast()).cast(),
            1,
            std::ptr::null_mut(),
            false,
        );
        let mut query = PgBox::<pg_sys::Query>::alloc_node(NodeTag::T_Query);
        query.commandType = pg_sys::CmdType::CMD_SELECT;
        query.canSetTag = true;
        query.jointree = pg_sys::makeFromExpr(std::ptr::null_mut(), std::ptr::null_mut());
        query.targetList = pg_sys::lappend(std::ptr::null_mut(), column.cast());
        let mut sub_link = PgBox::<pg_sys::SubLink>::alloc_node(NodeTag::T_SubLink);
        sub_link.subLinkType = pg_sys::SubLinkType::EXPR_SUBLINK;
        sub_link.subselect = query.into_pg().cast();
        sub_link.location = -1;
        sub_link.into_pg().cast()
    }
}

/// What a mutator leaves out of a query with grouping sets. From PostgreSQL 18, the expressions that
/// the sets group by are in the range table.
#[cfg(feature = "pg18")]
const GROUPED: c_int = pg_sys::QTW_IGNORE_GROUPEXPRS as c_int;
#[cfg(not(feature = "pg18"))]
const GROUPED: c_int = 0;

/// Changes a query or sub-query, except what it makes of grouping sets: a call that is grouped by
/// is null where the set does not have it, and PostgreSQL would not find it in a sub-select.
///
/// # Safety
///
/// The query is one that PostgreSQL plans.
unsafe fn mutate_query(
    query: *mut pg_sys::Query,
    level: *mut Level,
    flags: c_int,
) -> *mut pg_sys::Query {
    // SAFETY: see the contract.
    unsafe {
        if (*query).groupingSets.is_null() {
            return query_tree_mutator(query, replace_calls, level.cast(), flags);
        }
        let (targets, having) = ((*query).targetList, (*query).havingQual);
        (*query).targetList = std::ptr::null_mut();
        (*query).havingQual = std::ptr::null_mut();
        let flags = flags | GROUPED;
        let changed = query_tree_mutator(query, replace_calls, level.cast(), flags);
        for query in [query, changed] {
            (*query).targetList = targets;
            (*query).havingQual = having;
        }
        changed
    }
}
