// base/deadline.h — the check between steps that take a while each, where check_budget() (every 1,024th call) would look too seldom.
#pragma once

namespace bascule {

// Throws CapacityError when the deadline of the thread's budget has passed or the run was cancelled. Reads the clock.
void check_deadline();

}  // namespace bascule
