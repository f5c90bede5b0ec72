/* terminal.c - the terminal of the person: prompt, line editing, completion, suspended and resized.
 * SPDX-License-Identifier: MIT
 *
 * readline in its callback interface: the session's loop says when a key is there, so news from the
 * target can come while a line is being edited: terminal_hide, output, terminal_show. While no
 * prompt is shown the terminal is as we found it, and what is typed waits there for the next one.
 *
 * Signals are the session's (signalfd); readline must not install handlers, with which it would
 * wait for the next key before it acts. What would make it wait for keys of its own is
 * switched off: the question before many completions, the pager, bracketed paste (which would also
 * make one line of several, as bpo-42819 tells).
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "client.h"

#define MOST_WORDS_SHOWN 200

/* readline has one terminal, so have we. */
static struct {
    struct terminal_user user;
    struct termios found;
    bool opened, prompting, hidden;
    bool away; /* suspended, or continued in the background: the terminal is another's */
    bool continues; /* the prompt asks for more lines of Python source */
    struct buffer words;
    size_t next_word;
} terminal;

/* Who sets the terminal from the background is stopped, and would not even hear SIGTERM then. */
static bool in_foreground(void) {
    pid_t group = tcgetpgrp(STDIN_FILENO);
    return group < 0 || group == getpgrp();
}

/* Whatever ends us, an error of ours included: the terminal as it was. */
static void restore(void) {
    if (terminal.opened && in_foreground())
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal.found);
}

static void restore_and_die(int signal) {
    restore();
    raise(signal);
}

/* ^S would stop readline in the middle of a write, where it hears nothing; it searches the history instead. */
static void prepare(int meta) {
    struct termios mode;
    rl_prep_terminal(meta);
    if (tcgetattr(STDIN_FILENO, &mode) == 0) {
        mode.c_iflag &= ~(tcflag_t)IXON;
        tcsetattr(STDIN_FILENO, TCSANOW, &mode);
    }
}

static void take_line(char *line) {
    terminal.prompting = terminal.hidden = false;
    rl_callback_handler_remove();
    terminal.user.line(terminal.user.session, line);
    free(line);
}

static char *next_word(const char *text, int again) {
    (void)text;
    if (!again)
        terminal.next_word = 0;
    if (terminal.next_word >= terminal.words.length)
        return NULL;
    const char *word = terminal.words.data + terminal.next_word;
    terminal.next_word += strlen(word) + 1;
    return strdup(word);
}

static bool is_blank(const char *text, int length) {
    for (int i = 0; i < length; i++)
        if (text[i] != ' ' && text[i] != '\t')
            return false;
    return true;
}

/* Tab. Never falls back on the names of files. */
static char **complete(const char *text, int begin, int end) {
    rl_attempted_completion_over = 1;
    rl_completion_append_character = '\0';
    if (terminal.continues && is_blank(rl_line_buffer, rl_point)) {
        rl_insert_text("    ");
        return NULL;
    }
    terminal.words.length = 0;
    terminal.user.complete(terminal.user.session, rl_line_buffer, begin, end, &terminal.words);
    return rl_completion_matches(text, next_word);
}

static void show_words(char **words, int count, int longest) {
    int shown = count < MOST_WORDS_SHOWN ? count : MOST_WORDS_SHOWN;
    rl_display_match_list(words, shown, longest);
    if (shown < count)
        fprintf(rl_outstream, "... and %d more\n", count - shown);
    rl_forced_update_display();
}

static void set_up_readline(void) {
    rl_readline_name = "pydbattach";
    rl_catch_signals = 0;
    rl_catch_sigwinch = 0;
    rl_change_environment = 0;
    rl_prep_term_function = prepare;
    rl_attempted_completion_function = complete;
    rl_completion_display_matches_hook = show_words;
    rl_completion_query_items = 0;
    /* Those of pdb, and "!", which a statement may begin with. */
    rl_completer_word_break_characters = " \t\n`@#%^&*()=+[{]}\\|;:'\",<>?!";
    rl_initialize();
    rl_variable_bind("enable-bracketed-paste", "off");
    rl_variable_bind("page-completions", "off");
    /* In the C locale readline would take the bytes of a UTF-8 terminal for Meta keys. */
    rl_variable_bind("input-meta", "on");
    rl_variable_bind("output-meta", "on");
    rl_variable_bind("convert-meta", "off");
}

void terminal_open(const struct terminal_user *user) {
    static const int deaths[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    terminal.user = *user;
    terminal.opened = tcgetattr(STDIN_FILENO, &terminal.found) == 0;
    atexit(restore);
    struct sigaction action = {.sa_handler = restore_and_die, .sa_flags = (int)SA_RESETHAND};
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++)
        sigaction(deaths[i], &action, NULL);
    set_up_readline();
}

/* Asks for a line; asked again before it has come, only the prompt changes. False: not now, we are
 * in the background. */
bool terminal_prompt(const char *prompt) {
    terminal.away = !in_foreground();
    if (terminal.away)
        return false;
    terminal.continues = !strncmp(prompt, "...", 3) || !strncmp(prompt, ">>>", 3);
    if (terminal.prompting) {
        terminal_hide();
        rl_set_prompt(prompt);
        terminal_show();
        return true;
    }
    terminal.prompting = true;
    rl_callback_handler_install(prompt, take_line);
    return true;
}

bool terminal_prompting(void) {
    return terminal.prompting;
}

/* The shell says nothing when it brings a job that runs to the foreground: one has to look. */
bool terminal_away(void) {
    return terminal.away;
}

bool terminal_hidden(void) {
    return terminal.hidden;
}

/* Makes room for output: the prompt and the line leave the screen. */
void terminal_hide(void) {
    if (!terminal.prompting || terminal.hidden)
        return;
    rl_clear_visible_line();
    fflush(rl_outstream);
    terminal.hidden = true;
}

void terminal_show(void) {
    if (!terminal.hidden || terminal.away)
        return;
    terminal.hidden = false;
    rl_forced_update_display();
}

/* A key is there. */
void terminal_key(void) {
    rl_callback_read_char();
}

/* Ctrl-C at the prompt. */
void terminal_clear_line(void) {
    terminal_show();
    rl_callback_sigcleanup();
    rl_point = rl_end;
    rl_redisplay();
    rl_echo_signal_char(SIGINT);
    rl_crlf();
    rl_free_line_state();
    rl_replace_line("", 1);
    rl_reset_line_state();
    using_history();
    rl_on_new_line();
    rl_redisplay();
}

/* After a stop of whatever kind: the shell has set the terminal for itself meanwhile. */
void terminal_resume(void) {
    if (!in_foreground())
        return;
    terminal.away = false;
    if (!terminal.prompting)
        return;
    rl_deprep_terminal();
    prepare(1);
    rl_reset_screen_size();
    terminal.hidden = true;
    terminal_show();
}

/* ^Z: gives the terminal back and stops, until SIGCONT. */
void terminal_suspend(void) {
    static const struct timespec no_time;
    sigset_t stop, go;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    sigemptyset(&go);
    sigaddset(&go, SIGCONT);
    terminal_hide();
    if (terminal.prompting)
        rl_deprep_terminal();
    terminal.away = true;
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &stop, NULL); /* stops here, but for an orphan, whom nobody could continue */
    sigprocmask(SIG_BLOCK, &stop, NULL);
    sigtimedwait(&go, NULL, &no_time);
    terminal_resume();
}

void terminal_resized(void) {
    if (terminal.prompting && !terminal.hidden)
        rl_resize_terminal();
    else
        rl_reset_screen_size();
}

/* No line is wanted any more. */
void terminal_remove(void) {
    if (terminal.prompting) {
        terminal_hide();
        terminal.prompting = terminal.hidden = false;
        rl_callback_handler_remove();
    }
    restore();
}
