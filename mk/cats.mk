# The C tools, on the shared library, and one suite for all builds of the tools.

OUT := $(or $(CARGO_TARGET_DIR),target)/release
CATS_C := $(OUT)/cats-c
CATS_CFLAGS := -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Werror -pedantic -pthread -Iinclude -I$(CATS_C)
CFLAGS ?= -O2 -g
CATS_C_COMMON := $(addprefix $(CATS_C)/,main.o options.o line.o similar.o help.o size.o messages.o standard.o signals.o meter.o meet.o pump.o \
	ending.o talk.o told.o notice.o)

.PHONY: cats-c check-tools
.PRECIOUS: $(CATS_C)/%.o $(CATS_C)/%.txt.h

cats-c: $(OUT)/unixcat-c $(OUT)/xencat-c

# The help texts as C: one string per line.
CATS_HELP := $(patsubst cats/help/%,$(CATS_C)/%.h,$(wildcard cats/help/*.txt))
$(CATS_C)/%.txt.h: cats/help/%.txt
	@mkdir -p $(CATS_C)
	sed -e 's/["\\]/\\&/g' -e 's/.*/"&",/' $< >$@

$(CATS_C)/%.o: cats/c/%.c $(CATS_HELP) $(wildcard cats/c/*.h) include/libxenvchan.h include/vchan-rs.h
	@mkdir -p $(CATS_C)
	$(CC) $(CATS_CFLAGS) $(CFLAGS) -c -o $@ $<

# link-cat NAME,FILE,DIRECTORY: links a tool as FILE, which finds the library in DIRECTORY relative to its own.
link-cat = $(CC) -pthread $(LDFLAGS) -Wl,-rpath,'$$ORIGIN/$(3)' -o '$(2)' $(CATS_C)/$(1).o $(CATS_C_COMMON) \
	$(LIBRARY)

$(OUT)/%-c: $(CATS_C)/%.o $(CATS_C_COMMON) | build-capi
	ln -sf $(LIBRARY:$(OUT)/%=%) $(OUT)/
	$(call link-cat,$*,$@,)

check-tools: cats-c
	scripts/check-tools.sh '$(OUT)'
