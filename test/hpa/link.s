// This file lets rig.go declare functions without a body.
