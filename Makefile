# Build, check and install. Cargo does the work; this adds what cargo does not install: manual pages and completions.
#
#   make                                   build the tools
#   make install PREFIX=/usr DESTDIR=pkg   install tools, manual pages and completions
#   make install BINS=target/quick         the same with tools that were built there
#   make install-doc                       only manual pages and completions, after `cargo install --path .`
#   make try                               see them work on this machine
#   make check                             what CI checks: style, lints, documents, examples, tests

PREFIX ?= /usr/local
DESTDIR ?=
BINS ?=
CARGO ?= cargo
INSTALL ?= install

bindir = $(DESTDIR)$(PREFIX)/bin
datadir = $(DESTDIR)$(PREFIX)/share
TARGET = $(or $(CARGO_TARGET_DIR),target)/release
FROM = $(or $(BINS),$(TARGET))
TOOLS = $(patsubst src/bin/%.rs,%,$(wildcard src/bin/*.rs))

.PHONY: all install install-bin install-doc uninstall try check lint-doc bless

all:
	$(CARGO) build --release --locked --bins

install: install-bin install-doc

install-bin: $(if $(BINS),,all)
	$(INSTALL) -d $(bindir)
	$(INSTALL) -m 755 $(TOOLS:%=$(FROM)/%) $(bindir)

install-doc:
	$(INSTALL) -d $(datadir)/man/man1 $(datadir)/man/man7 $(datadir)/bash-completion/completions
	$(INSTALL) -d $(datadir)/zsh/site-functions $(datadir)/fish/vendor_completions.d
	$(INSTALL) -m 644 man/*.1 $(datadir)/man/man1
	$(INSTALL) -m 644 man/*.7 $(datadir)/man/man7
	$(INSTALL) -m 644 completions/bash/* $(datadir)/bash-completion/completions
	$(INSTALL) -m 644 completions/zsh/* $(datadir)/zsh/site-functions
	$(INSTALL) -m 644 completions/fish/* $(datadir)/fish/vendor_completions.d

uninstall:
	cd $(bindir) && rm -f $(TOOLS)
	cd $(datadir)/man && rm -f $(patsubst man/%,man1/%,$(wildcard man/*.1)) $(patsubst man/%,man7/%,$(wildcard man/*.7))
	cd $(datadir)/bash-completion/completions && rm -f $(notdir $(wildcard completions/bash/*))
	cd $(datadir)/zsh/site-functions && rm -f $(notdir $(wildcard completions/zsh/*))
	cd $(datadir)/fish/vendor_completions.d && rm -f $(notdir $(wildcard completions/fish/*))

check:
	.ci/run

try:
	examples/try-it.sh

# The manual pages as the formatters see them; needs groff, and uses mandoc where there is one.
lint-doc:
	@for page in man/*.[17]; do \
		warnings=$$(groff -man -ww -z -T utf8 $$page 2>&1) && test -z "$$warnings" || { echo "$$warnings"; exit 1; }; \
		if command -v mandoc >/dev/null; then mandoc -T lint -W warning $$page || exit 1; fi; \
	done

# Write the generated pages and completions anew, after a change of options or prose.
bless:
	BLESS=1 $(CARGO) test --locked --test docs
