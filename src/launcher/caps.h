/* Capabilities of this process (capabilities(7)). */
#pragma once
#include "die.h"
#include <linux/capability.h>

#define THE_ONE (1U << CAP_DAC_READ_SEARCH) /* reads every file and searches every folder */

/* Sets all three sets. Dies if the kernel refuses. */
void set_capabilities(uint32_t permitted, uint32_t effective, uint32_t inheritable);

/* @return the permitted set */
uint32_t permitted_capabilities(void);

/* Dies unless THE_ONE is in the permitted set, that is, in the file capability of this program. */
void require_capability(void);
