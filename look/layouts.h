/* SPDX-License-Identifier: MIT
 * layouts.h - made by look/make_layout.py from CPython's headers: change that script, not this file.
 */
#define EACH_FIELD(field) \
    field(runtime_initialized) \
    field(runtime_finalizing) \
    field(runtime_interpreters) \
    field(runtime_main) \
    field(runtime_main_thread) \
    field(runtime_gil) \
    field(runtime_collecting) \
    field(interpreter_next) \
    field(interpreter_id) \
    field(interpreter_threads) \
    field(interpreter_modules) \
    field(interpreter_gil) \
    field(interpreter_gc) \
    field(gc_collecting) \
    field(gil_holder) \
    field(gil_locked) \
    field(gil_switches) \
    field(gil_size) \
    field(thread_next) \
    field(thread_interpreter) \
    field(thread_frame) \
    field(thread_cframe) \
    field(cframe_frame) \
    field(thread_ident) \
    field(thread_native_id) \
    field(thread_status) \
    field(thread_breaker) \
    field(thread_remote) \
    field(remote_enabled) \
    field(remote_pending) \
    field(remote_path) \
    field(remote_audits) \
    field(remote_own_audits) \
    field(remote_path_size) \
    field(frame_size) \
    field(frame_previous) \
    field(frame_code) \
    field(frame_instruction) \
    field(frame_locals) \
    field(frame_owner) \
    field(frame_bytecode) \
    field(code_size) \
    field(code_arguments) \
    field(code_keyword_only) \
    field(code_local_count) \
    field(code_locals_plus) \
    field(code_flags) \
    field(code_first_line) \
    field(code_file) \
    field(code_name) \
    field(code_qualified_name) \
    field(code_lines) \
    field(code_bytes) \
    field(code_adaptive) \
    field(code_first_traceable) \
    field(code_thread_local) \
    field(code_variables) \
    field(code_cells) \
    field(code_free) \
    field(code_local_names) \
    field(code_local_kinds) \
    field(object_type) \
    field(object_size) \
    field(var_size) \
    field(var_items) \
    field(type_size) \
    field(type_name) \
    field(type_flags) \
    field(type_basic_size) \
    field(type_item_size) \
    field(type_dict_offset) \
    field(type_base) \
    field(type_dict) \
    field(type_mro) \
    field(type_cached_keys) \
    field(managed_dict) \
    field(dict_used) \
    field(dict_keys) \
    field(dict_values) \
    field(values_items) \
    field(keys_log2_size) \
    field(keys_log2_index_bytes) \
    field(keys_kind) \
    field(keys_size) \
    field(keys_entry_count) \
    field(keys_indices) \
    field(unicode_length) \
    field(unicode_state) \
    field(unicode_ascii_size) \
    field(unicode_compact_size) \
    field(unicode_data) \
    field(unicode_kind_shift) \
    field(unicode_compact_shift) \
    field(unicode_ascii_shift) \
    field(bytes_items) \
    field(long_size) \
    field(long_digits) \
    field(float_value) \
    field(list_items) \
    field(tuple_items) \
    field(set_used) \
    field(set_table) \
    field(set_mask) \
    field(module_dict) \
    field(type_qualified_name) \
    field(unicode_wide) \
    field(bytearray_start) \
    field(function_qualified_name) \
    field(generator_qualified_name) \
    field(module_name) \
    field(frame_mapping) \
    field(frame_globals) \
    field(has_tagged_lengths) \
    field(has_tagged_references) \
    field(has_count_flags) \
    field(has_prefixed_values) \
    field(has_inline_values) \
    field(has_values_pointer) \
    field(has_tagged_values)

#define LAYOUT_ROWS \
    {.version = 0x0306, .free_threaded = 0, .interpreter_next = 0, .interpreter_threads = 8, .interpreter_modules = 16, \
        .thread_next = 8, .thread_interpreter = 16, .thread_frame = 24, .thread_ident = 152, .frame_size = 376, \
        .frame_previous = 24, .frame_code = 32, .frame_instruction = 120, .frame_locals = 376, .code_size = 144, \
        .code_arguments = 16, .code_keyword_only = 20, .code_local_count = 24, .code_flags = 32, .code_first_line = 36, \
        .code_file = 96, .code_name = 104, .code_lines = 112, .code_bytes = 40, .code_variables = 64, .code_cells = 80, \
        .code_free = 72, .object_type = 8, .object_size = 16, .var_size = 16, .var_items = 24, .type_size = 400, .type_name \
        = 24, .type_flags = 168, .type_basic_size = 32, .type_item_size = 40, .type_dict_offset = 288, .type_base = 256, \
        .type_dict = 264, .type_mro = 344, .type_cached_keys = 856, .dict_used = 16, .dict_keys = 32, .dict_values = 40, \
        .values_items = 0, .keys_size = 8, .keys_entry_count = 32, .keys_indices = 40, .unicode_length = 16, .unicode_state \
        = 32, .unicode_ascii_size = 48, .unicode_compact_size = 72, .unicode_data = 72, .unicode_kind_shift = 2, \
        .unicode_compact_shift = 5, .unicode_ascii_shift = 6, .bytes_items = 32, .long_size = 16, .long_digits = 24, \
        .float_value = 16, .list_items = 24, .tuple_items = 24, .set_used = 24, .set_table = 40, .set_mask = 32, \
        .module_dict = 16, .type_qualified_name = 848, .unicode_wide = 40, .bytearray_start = 40, .function_qualified_name \
        = 104, .generator_qualified_name = 56, .module_name = 48, .frame_mapping = 56, .frame_globals = 48}, \
    {.version = 0x0307, .free_threaded = 0, .runtime_initialized = 0, .runtime_finalizing = 8, .runtime_interpreters = 24, \
        .runtime_main = 32, .runtime_gil = 1264, .runtime_collecting = 632, .interpreter_next = 0, .interpreter_id = 16, \
        .interpreter_threads = 8, .interpreter_modules = 40, .gc_collecting = 312, .gil_holder = 8, .gil_locked = 16, \
        .gil_switches = 24, .gil_size = 208, .thread_next = 8, .thread_interpreter = 16, .thread_frame = 24, .thread_ident \
        = 176, .frame_size = 360, .frame_previous = 24, .frame_code = 32, .frame_instruction = 104, .frame_locals = 360, \
        .code_size = 144, .code_arguments = 16, .code_keyword_only = 20, .code_local_count = 24, .code_flags = 32, \
        .code_first_line = 36, .code_file = 96, .code_name = 104, .code_lines = 112, .code_bytes = 40, .code_variables = \
        64, .code_cells = 80, .code_free = 72, .object_type = 8, .object_size = 16, .var_size = 16, .var_items = 24, \
        .type_size = 400, .type_name = 24, .type_flags = 168, .type_basic_size = 32, .type_item_size = 40, \
        .type_dict_offset = 288, .type_base = 256, .type_dict = 264, .type_mro = 344, .type_cached_keys = 856, .dict_used = \
        16, .dict_keys = 32, .dict_values = 40, .values_items = 0, .keys_size = 8, .keys_entry_count = 32, .keys_indices = \
        40, .unicode_length = 16, .unicode_state = 32, .unicode_ascii_size = 48, .unicode_compact_size = 72, .unicode_data \
        = 72, .unicode_kind_shift = 2, .unicode_compact_shift = 5, .unicode_ascii_shift = 6, .bytes_items = 32, .long_size \
        = 16, .long_digits = 24, .float_value = 16, .list_items = 24, .tuple_items = 24, .set_used = 24, .set_table = 40, \
        .set_mask = 32, .module_dict = 16, .type_qualified_name = 848, .unicode_wide = 40, .bytearray_start = 40, \
        .function_qualified_name = 104, .generator_qualified_name = 56, .module_name = 48, .frame_mapping = 56, \
        .frame_globals = 48}, \
    {.version = 0x0308, .free_threaded = 0, .runtime_initialized = 12, .runtime_finalizing = 16, .runtime_interpreters = \
        32, .runtime_main = 40, .runtime_main_thread = 72, .runtime_gil = 1152, .runtime_collecting = 544, \
        .interpreter_next = 0, .interpreter_id = 16, .interpreter_threads = 8, .interpreter_modules = 56, .gc_collecting = \
        200, .gil_holder = 8, .gil_locked = 16, .gil_switches = 24, .gil_size = 208, .thread_next = 8, .thread_interpreter \
        = 16, .thread_frame = 24, .thread_ident = 176, .frame_size = 360, .frame_previous = 24, .frame_code = 32, \
        .frame_instruction = 104, .frame_locals = 360, .code_size = 176, .code_arguments = 16, .code_keyword_only = 24, \
        .code_local_count = 28, .code_flags = 36, .code_first_line = 40, .code_file = 104, .code_name = 112, .code_lines = \
        120, .code_bytes = 48, .code_variables = 72, .code_cells = 88, .code_free = 80, .object_type = 8, .object_size = \
        16, .var_size = 16, .var_items = 24, .type_size = 416, .type_name = 24, .type_flags = 168, .type_basic_size = 32, \
        .type_item_size = 40, .type_dict_offset = 288, .type_base = 256, .type_dict = 264, .type_mro = 344, \
        .type_cached_keys = 872, .dict_used = 16, .dict_keys = 32, .dict_values = 40, .values_items = 0, .keys_size = 8, \
        .keys_entry_count = 32, .keys_indices = 40, .unicode_length = 16, .unicode_state = 32, .unicode_ascii_size = 48, \
        .unicode_compact_size = 72, .unicode_data = 72, .unicode_kind_shift = 2, .unicode_compact_shift = 5, \
        .unicode_ascii_shift = 6, .bytes_items = 32, .long_size = 16, .long_digits = 24, .float_value = 16, .list_items = \
        24, .tuple_items = 24, .set_used = 24, .set_table = 40, .set_mask = 32, .module_dict = 16, .type_qualified_name = \
        864, .unicode_wide = 40, .bytearray_start = 40, .function_qualified_name = 104, .generator_qualified_name = 56, \
        .module_name = 48, .frame_mapping = 56, .frame_globals = 48}, \
    {.version = 0x0309, .free_threaded = 0, .runtime_initialized = 12, .runtime_finalizing = 16, .runtime_interpreters = \
        32, .runtime_main = 40, .runtime_main_thread = 72, .runtime_gil = 352, .interpreter_next = 0, .interpreter_id = 24, \
        .interpreter_threads = 8, .interpreter_modules = 856, .interpreter_gc = 616, .gc_collecting = 200, .gil_holder = 8, \
        .gil_locked = 16, .gil_switches = 24, .gil_size = 208, .thread_next = 8, .thread_interpreter = 16, .thread_frame = \
        24, .thread_ident = 176, .frame_size = 360, .frame_previous = 24, .frame_code = 32, .frame_instruction = 104, \
        .frame_locals = 360, .code_size = 176, .code_arguments = 16, .code_keyword_only = 24, .code_local_count = 28, \
        .code_flags = 36, .code_first_line = 40, .code_file = 104, .code_name = 112, .code_lines = 120, .code_bytes = 48, \
        .code_variables = 72, .code_cells = 88, .code_free = 80, .object_type = 8, .object_size = 16, .var_size = 16, \
        .var_items = 24, .type_size = 408, .type_name = 24, .type_flags = 168, .type_basic_size = 32, .type_item_size = 40, \
        .type_dict_offset = 288, .type_base = 256, .type_dict = 264, .type_mro = 344, .type_cached_keys = 864, .dict_used = \
        16, .dict_keys = 32, .dict_values = 40, .values_items = 0, .keys_size = 8, .keys_entry_count = 32, .keys_indices = \
        40, .unicode_length = 16, .unicode_state = 32, .unicode_ascii_size = 48, .unicode_compact_size = 72, .unicode_data \
        = 72, .unicode_kind_shift = 2, .unicode_compact_shift = 5, .unicode_ascii_shift = 6, .bytes_items = 32, .long_size \
        = 16, .long_digits = 24, .float_value = 16, .list_items = 24, .tuple_items = 24, .set_used = 24, .set_table = 40, \
        .set_mask = 32, .module_dict = 16, .type_qualified_name = 856, .unicode_wide = 40, .bytearray_start = 40, \
        .function_qualified_name = 104, .generator_qualified_name = 56, .module_name = 48, .frame_mapping = 56, \
        .frame_globals = 48}, \
    {.version = 0x030a, .free_threaded = 0, .runtime_initialized = 12, .runtime_finalizing = 16, .runtime_interpreters = \
        32, .runtime_main = 40, .runtime_main_thread = 72, .runtime_gil = 352, .interpreter_next = 0, .interpreter_id = 24, \
        .interpreter_threads = 8, .interpreter_modules = 856, .interpreter_gc = 616, .gc_collecting = 200, .gil_holder = 8, \
        .gil_locked = 16, .gil_switches = 24, .gil_size = 208, .thread_next = 8, .thread_interpreter = 16, .thread_frame = \
        24, .thread_ident = 176, .frame_size = 352, .frame_previous = 24, .frame_code = 32, .frame_instruction = 96, \
        .frame_locals = 352, .code_size = 176, .code_arguments = 16, .code_keyword_only = 24, .code_local_count = 28, \
        .code_flags = 36, .code_first_line = 40, .code_file = 104, .code_name = 112, .code_lines = 120, .code_bytes = 48, \
        .code_variables = 72, .code_cells = 88, .code_free = 80, .object_type = 8, .object_size = 16, .var_size = 16, \
        .var_items = 24, .type_size = 408, .type_name = 24, .type_flags = 168, .type_basic_size = 32, .type_item_size = 40, \
        .type_dict_offset = 288, .type_base = 256, .type_dict = 264, .type_mro = 344, .type_cached_keys = 872, .dict_used = \
        16, .dict_keys = 32, .dict_values = 40, .values_items = 0, .keys_size = 8, .keys_entry_count = 32, .keys_indices = \
        40, .unicode_length = 16, .unicode_state = 32, .unicode_ascii_size = 48, .unicode_compact_size = 72, .unicode_data \
        = 72, .unicode_kind_shift = 2, .unicode_compact_shift = 5, .unicode_ascii_shift = 6, .bytes_items = 32, .long_size \
        = 16, .long_digits = 24, .float_value = 16, .list_items = 24, .tuple_items = 24, .set_used = 24, .set_table = 40, \
        .set_mask = 32, .module_dict = 16, .type_qualified_name = 864, .unicode_wide = 40, .bytearray_start = 40, \
        .function_qualified_name = 40, .generator_qualified_name = 48, .module_name = 48, .frame_mapping = 56, \
        .frame_globals = 48}, \
    {.version = 0x030b, .free_threaded = 0, .runtime_initialized = 16, .runtime_finalizing = 24, .runtime_interpreters = \
        40, .runtime_main = 48, .runtime_main_thread = 80, .runtime_gil = 360, .interpreter_next = 0, .interpreter_id = 48, \
        .interpreter_threads = 16, .interpreter_modules = 888, .interpreter_gc = 648, .gc_collecting = 200, .gil_holder = \
        8, .gil_locked = 16, .gil_switches = 24, .gil_size = 208, .thread_next = 8, .thread_interpreter = 16, \
        .thread_cframe = 56, .cframe_frame = 8, .thread_ident = 152, .thread_native_id = 160, .frame_size = 72, \
        .frame_previous = 48, .frame_code = 32, .frame_instruction = 56, .frame_locals = 72, .frame_owner = 69, .code_size \
        = 184, .code_arguments = 56, .code_keyword_only = 64, .code_local_count = 80, .code_locals_plus = 76, .code_flags = \
        48, .code_first_line = 72, .code_file = 112, .code_name = 120, .code_qualified_name = 128, .code_lines = 136, \
        .code_adaptive = 184, .code_first_traceable = 168, .code_local_names = 96, .code_local_kinds = 104, .object_type = \
        8, .object_size = 16, .var_size = 16, .var_items = 24, .type_size = 408, .type_name = 24, .type_flags = 168, \
        .type_basic_size = 32, .type_item_size = 40, .type_dict_offset = 288, .type_base = 256, .type_dict = 264, .type_mro \
        = 344, .type_cached_keys = 872, .managed_dict = 24, .dict_used = 16, .dict_keys = 32, .dict_values = 40, \
        .values_items = 0, .keys_log2_size = 8, .keys_log2_index_bytes = 9, .keys_kind = 10, .keys_entry_count = 24, \
        .keys_indices = 32, .unicode_length = 16, .unicode_state = 32, .unicode_ascii_size = 48, .unicode_compact_size = \
        72, .unicode_data = 72, .unicode_kind_shift = 2, .unicode_compact_shift = 5, .unicode_ascii_shift = 6, .bytes_items \
        = 32, .long_size = 16, .long_digits = 24, .float_value = 16, .list_items = 24, .tuple_items = 24, .set_used = 24, \
        .set_table = 40, .set_mask = 32, .module_dict = 16, .type_qualified_name = 864, .unicode_wide = 40, \
        .bytearray_start = 40, .function_qualified_name = 40, .generator_qualified_name = 40, .module_name = 48, \
        .frame_mapping = 24, .frame_globals = 8, .has_prefixed_values = 1, .has_values_pointer = 1}, \
    {.version = 0x030c, .free_threaded = 0, .runtime_initialized = 16, .runtime_finalizing = 24, .runtime_interpreters = \
        40, .runtime_main = 48, .runtime_main_thread = 64, .interpreter_next = 0, .interpreter_id = 8, .interpreter_threads \
        = 72, .interpreter_modules = 944, .interpreter_gil = 384, .interpreter_gc = 112, .gc_collecting = 200, .gil_holder \
        = 8, .gil_locked = 16, .gil_switches = 24, .gil_size = 208, .thread_next = 8, .thread_interpreter = 16, \
        .thread_cframe = 56, .cframe_frame = 0, .thread_ident = 136, .thread_native_id = 144, .thread_status = 24, \
        .frame_size = 72, .frame_previous = 8, .frame_code = 0, .frame_instruction = 56, .frame_locals = 72, .frame_owner = \
        70, .code_size = 192, .code_arguments = 52, .code_keyword_only = 60, .code_local_count = 80, .code_locals_plus = \
        72, .code_flags = 48, .code_first_line = 68, .code_file = 112, .code_name = 120, .code_qualified_name = 128, \
        .code_lines = 136, .code_adaptive = 192, .code_first_traceable = 176, .code_local_names = 96, .code_local_kinds = \
        104, .object_type = 8, .object_size = 16, .var_size = 16, .var_items = 24, .type_size = 416, .type_name = 24, \
        .type_flags = 168, .type_basic_size = 32, .type_item_size = 40, .type_dict_offset = 288, .type_base = 256, \
        .type_dict = 264, .type_mro = 344, .type_cached_keys = 880, .managed_dict = 24, .dict_used = 16, .dict_keys = 32, \
        .dict_values = 40, .values_items = 0, .keys_log2_size = 8, .keys_log2_index_bytes = 9, .keys_kind = 10, \
        .keys_entry_count = 24, .keys_indices = 32, .unicode_length = 16, .unicode_state = 32, .unicode_ascii_size = 40, \
        .unicode_compact_size = 56, .unicode_data = 56, .unicode_kind_shift = 2, .unicode_compact_shift = 5, \
        .unicode_ascii_shift = 6, .bytes_items = 32, .long_size = 16, .long_digits = 24, .float_value = 16, .list_items = \
        24, .tuple_items = 24, .set_used = 24, .set_table = 40, .set_mask = 32, .module_dict = 16, .type_qualified_name = \
        872, .bytearray_start = 40, .function_qualified_name = 40, .generator_qualified_name = 32, .module_name = 48, \
        .frame_mapping = 40, .frame_globals = 24, .has_tagged_lengths = 1, .has_prefixed_values = 1, .has_tagged_values = \
        1}, \
    {.version = 0x030d, .free_threaded = 0, .runtime_initialized = 600, .runtime_finalizing = 608, .runtime_interpreters = \
        632, .runtime_main = 640, .runtime_main_thread = 656, .interpreter_next = 7264, .interpreter_id = 7272, \
        .interpreter_threads = 7344, .interpreter_modules = 7656, .interpreter_gil = 16, .interpreter_gc = 7400, \
        .gc_collecting = 200, .gil_holder = 8, .gil_locked = 16, .gil_switches = 24, .gil_size = 208, .thread_next = 8, \
        .thread_interpreter = 16, .thread_frame = 72, .thread_ident = 152, .thread_native_id = 160, .thread_status = 32, \
        .frame_size = 72, .frame_previous = 8, .frame_code = 0, .frame_instruction = 56, .frame_locals = 72, .frame_owner = \
        70, .code_size = 200, .code_arguments = 52, .code_keyword_only = 60, .code_local_count = 80, .code_locals_plus = \
        72, .code_flags = 48, .code_first_line = 68, .code_file = 112, .code_name = 120, .code_qualified_name = 128, \
        .code_lines = 136, .code_adaptive = 200, .code_first_traceable = 184, .code_local_names = 96, .code_local_kinds = \
        104, .object_type = 8, .object_size = 16, .var_size = 16, .var_items = 24, .type_size = 416, .type_name = 24, \
        .type_flags = 168, .type_basic_size = 32, .type_item_size = 40, .type_dict_offset = 288, .type_base = 256, \
        .type_dict = 264, .type_mro = 344, .type_cached_keys = 880, .managed_dict = 24, .dict_used = 16, .dict_keys = 32, \
        .dict_values = 40, .values_items = 8, .keys_log2_size = 8, .keys_log2_index_bytes = 9, .keys_kind = 10, \
        .keys_entry_count = 24, .keys_indices = 32, .unicode_length = 16, .unicode_state = 32, .unicode_ascii_size = 40, \
        .unicode_compact_size = 56, .unicode_data = 56, .unicode_kind_shift = 2, .unicode_compact_shift = 5, \
        .unicode_ascii_shift = 6, .bytes_items = 32, .long_size = 16, .long_digits = 24, .float_value = 16, .list_items = \
        24, .tuple_items = 24, .set_used = 24, .set_table = 40, .set_mask = 32, .module_dict = 16, .type_qualified_name = \
        872, .bytearray_start = 40, .function_qualified_name = 40, .generator_qualified_name = 32, .module_name = 48, \
        .frame_mapping = 40, .frame_globals = 24, .has_tagged_lengths = 1, .has_inline_values = 1}, \
    {.version = 0x030d, .free_threaded = 1, .runtime_initialized = 600, .runtime_finalizing = 608, .runtime_interpreters = \
        632, .runtime_main = 640, .runtime_main_thread = 656, .interpreter_next = 7264, .interpreter_id = 7272, \
        .interpreter_threads = 7344, .interpreter_modules = 7664, .interpreter_gil = 16, .interpreter_gc = 7400, \
        .gc_collecting = 200, .gil_holder = 16, .gil_locked = 24, .gil_switches = 32, .gil_size = 216, .thread_next = 8, \
        .thread_interpreter = 16, .thread_frame = 72, .thread_ident = 152, .thread_native_id = 160, .thread_status = 32, \
        .frame_size = 72, .frame_previous = 8, .frame_code = 0, .frame_instruction = 56, .frame_locals = 72, .frame_owner = \
        70, .code_size = 216, .code_arguments = 68, .code_keyword_only = 76, .code_local_count = 96, .code_locals_plus = \
        88, .code_flags = 64, .code_first_line = 84, .code_file = 128, .code_name = 136, .code_qualified_name = 144, \
        .code_lines = 152, .code_adaptive = 216, .code_first_traceable = 200, .code_local_names = 112, .code_local_kinds = \
        120, .object_type = 24, .object_size = 32, .var_size = 32, .var_items = 40, .type_size = 432, .type_name = 40, \
        .type_flags = 184, .type_basic_size = 48, .type_item_size = 56, .type_dict_offset = 304, .type_base = 272, \
        .type_dict = 280, .type_mro = 360, .type_cached_keys = 896, .managed_dict = 8, .dict_used = 32, .dict_keys = 48, \
        .dict_values = 56, .values_items = 8, .keys_log2_size = 8, .keys_log2_index_bytes = 9, .keys_kind = 10, \
        .keys_entry_count = 24, .keys_indices = 32, .unicode_length = 32, .unicode_state = 48, .unicode_ascii_size = 56, \
        .unicode_compact_size = 72, .unicode_data = 72, .unicode_kind_shift = 2, .unicode_compact_shift = 5, \
        .unicode_ascii_shift = 6, .bytes_items = 48, .long_size = 32, .long_digits = 40, .float_value = 32, .list_items = \
        40, .tuple_items = 40, .set_used = 40, .set_table = 56, .set_mask = 48, .module_dict = 32, .type_qualified_name = \
        888, .bytearray_start = 56, .function_qualified_name = 56, .generator_qualified_name = 48, .module_name = 64, \
        .frame_mapping = 40, .frame_globals = 24, .has_tagged_lengths = 1, .has_inline_values = 1}, \
    {.version = 0x030e, .free_threaded = 0, .runtime_initialized = 776, .runtime_finalizing = 784, .runtime_interpreters = \
        808, .runtime_main = 816, .runtime_main_thread = 832, .interpreter_next = 7272, .interpreter_id = 7280, \
        .interpreter_threads = 7344, .interpreter_modules = 7688, .interpreter_gil = 16, .interpreter_gc = 7408, \
        .gc_collecting = 192, .gil_holder = 8, .gil_locked = 16, .gil_switches = 24, .gil_size = 208, .thread_next = 8, \
        .thread_interpreter = 16, .thread_frame = 72, .thread_ident = 152, .thread_native_id = 160, .thread_status = 32, \
        .thread_breaker = 24, .thread_remote = 304, .remote_enabled = 8076, .remote_pending = 0, .remote_path = 4, \
        .remote_audits = 10640, .remote_own_audits = 10912, .remote_path_size = 512, .frame_size = 80, .frame_previous = 8, \
        .frame_code = 0, .frame_instruction = 56, .frame_locals = 80, .frame_owner = 74, .frame_bytecode = 0, .code_size = \
        208, .code_arguments = 52, .code_keyword_only = 60, .code_local_count = 80, .code_locals_plus = 72, .code_flags = \
        48, .code_first_line = 68, .code_file = 112, .code_name = 120, .code_qualified_name = 128, .code_lines = 136, \
        .code_adaptive = 208, .code_first_traceable = 192, .code_thread_local = 0, .code_local_names = 96, \
        .code_local_kinds = 104, .object_type = 8, .object_size = 16, .var_size = 16, .var_items = 24, .type_size = 416, \
        .type_name = 24, .type_flags = 168, .type_basic_size = 32, .type_item_size = 40, .type_dict_offset = 288, \
        .type_base = 256, .type_dict = 264, .type_mro = 344, .type_cached_keys = 880, .managed_dict = 24, .dict_used = 16, \
        .dict_keys = 32, .dict_values = 40, .values_items = 8, .keys_log2_size = 8, .keys_log2_index_bytes = 9, .keys_kind \
        = 10, .keys_entry_count = 24, .keys_indices = 32, .unicode_length = 16, .unicode_state = 32, .unicode_ascii_size = \
        40, .unicode_compact_size = 56, .unicode_data = 56, .unicode_kind_shift = 2, .unicode_compact_shift = 5, \
        .unicode_ascii_shift = 6, .bytes_items = 32, .long_size = 16, .long_digits = 24, .float_value = 16, .list_items = \
        24, .tuple_items = 32, .set_used = 24, .set_table = 40, .set_mask = 32, .module_dict = 16, .type_qualified_name = \
        872, .bytearray_start = 40, .function_qualified_name = 40, .generator_qualified_name = 32, .module_name = 48, \
        .frame_mapping = 40, .frame_globals = 24, .has_tagged_lengths = 1, .has_tagged_references = 1, .has_count_flags = \
        1, .has_inline_values = 1}, \
    {.version = 0x030e, .free_threaded = 1, .runtime_initialized = 776, .runtime_finalizing = 784, .runtime_interpreters = \
        808, .runtime_main = 816, .runtime_main_thread = 832, .interpreter_next = 7272, .interpreter_id = 7280, \
        .interpreter_threads = 7344, .interpreter_modules = 7712, .interpreter_gil = 16, .interpreter_gc = 7408, \
        .gc_collecting = 192, .gil_holder = 16, .gil_locked = 24, .gil_switches = 32, .gil_size = 216, .thread_next = 8, \
        .thread_interpreter = 16, .thread_frame = 72, .thread_ident = 152, .thread_native_id = 160, .thread_status = 32, \
        .thread_breaker = 24, .thread_remote = 304, .remote_enabled = 8108, .remote_pending = 0, .remote_path = 4, \
        .remote_audits = 10640, .remote_own_audits = 17336, .remote_path_size = 512, .frame_size = 80, .frame_previous = 8, \
        .frame_code = 0, .frame_instruction = 56, .frame_locals = 80, .frame_owner = 78, .frame_bytecode = 72, .code_size = \
        232, .code_arguments = 68, .code_keyword_only = 76, .code_local_count = 96, .code_locals_plus = 88, .code_flags = \
        64, .code_first_line = 84, .code_file = 128, .code_name = 136, .code_qualified_name = 144, .code_lines = 152, \
        .code_adaptive = 232, .code_first_traceable = 208, .code_thread_local = 224, .code_local_names = 112, \
        .code_local_kinds = 120, .object_type = 24, .object_size = 32, .var_size = 32, .var_items = 40, .type_size = 432, \
        .type_name = 40, .type_flags = 184, .type_basic_size = 48, .type_item_size = 56, .type_dict_offset = 304, \
        .type_base = 272, .type_dict = 280, .type_mro = 360, .type_cached_keys = 896, .managed_dict = 8, .dict_used = 32, \
        .dict_keys = 48, .dict_values = 56, .values_items = 8, .keys_log2_size = 8, .keys_log2_index_bytes = 9, .keys_kind \
        = 10, .keys_entry_count = 24, .keys_indices = 32, .unicode_length = 32, .unicode_state = 48, .unicode_ascii_size = \
        56, .unicode_compact_size = 72, .unicode_data = 72, .unicode_kind_shift = 8, .unicode_compact_shift = 11, \
        .unicode_ascii_shift = 12, .bytes_items = 48, .long_size = 32, .long_digits = 40, .float_value = 32, .list_items = \
        40, .tuple_items = 48, .set_used = 40, .set_table = 56, .set_mask = 48, .module_dict = 32, .type_qualified_name = \
        888, .bytearray_start = 56, .function_qualified_name = 56, .generator_qualified_name = 48, .module_name = 64, \
        .frame_mapping = 40, .frame_globals = 24, .has_tagged_lengths = 1, .has_tagged_references = 1, .has_count_flags = \
        1, .has_inline_values = 1}, \
    {.version = 0x030f, .free_threaded = 0, .runtime_initialized = 904, .runtime_finalizing = 912, .runtime_interpreters = \
        936, .runtime_main = 944, .runtime_main_thread = 960, .interpreter_next = 7264, .interpreter_id = 7272, \
        .interpreter_threads = 7336, .interpreter_modules = 7592, .interpreter_gil = 16, .interpreter_gc = 7400, \
        .gc_collecting = 112, .gil_holder = 8, .gil_locked = 16, .gil_switches = 24, .gil_size = 208, .thread_next = 8, \
        .thread_interpreter = 16, .thread_frame = 72, .thread_ident = 176, .thread_native_id = 184, .thread_status = 32, \
        .thread_breaker = 24, .thread_remote = 344, .remote_enabled = 8028, .remote_pending = 0, .remote_path = 4, \
        .remote_audits = 10760, .remote_own_audits = 10888, .remote_path_size = 512, .frame_size = 80, .frame_previous = 8, \
        .frame_code = 0, .frame_instruction = 56, .frame_locals = 80, .frame_owner = 74, .frame_bytecode = 0, .code_size = \
        208, .code_arguments = 52, .code_keyword_only = 60, .code_local_count = 80, .code_locals_plus = 72, .code_flags = \
        48, .code_first_line = 68, .code_file = 112, .code_name = 120, .code_qualified_name = 128, .code_lines = 136, \
        .code_adaptive = 208, .code_first_traceable = 192, .code_thread_local = 0, .code_local_names = 96, \
        .code_local_kinds = 104, .object_type = 8, .object_size = 16, .var_size = 16, .var_items = 24, .type_size = 424, \
        .type_name = 24, .type_flags = 168, .type_basic_size = 32, .type_item_size = 40, .type_dict_offset = 288, \
        .type_base = 256, .type_dict = 264, .type_mro = 344, .type_cached_keys = 888, .managed_dict = 24, .dict_used = 16, \
        .dict_keys = 32, .dict_values = 40, .values_items = 8, .keys_log2_size = 8, .keys_log2_index_bytes = 9, .keys_kind \
        = 10, .keys_entry_count = 24, .keys_indices = 32, .unicode_length = 16, .unicode_state = 32, .unicode_ascii_size = \
        40, .unicode_compact_size = 56, .unicode_data = 56, .unicode_kind_shift = 2, .unicode_compact_shift = 5, \
        .unicode_ascii_shift = 6, .bytes_items = 32, .long_size = 16, .long_digits = 24, .float_value = 16, .list_items = \
        24, .tuple_items = 32, .set_used = 24, .set_table = 40, .set_mask = 32, .module_dict = 16, .type_qualified_name = \
        880, .bytearray_start = 40, .function_qualified_name = 40, .generator_qualified_name = 32, .module_name = 40, \
        .frame_mapping = 40, .frame_globals = 24, .has_tagged_lengths = 1, .has_tagged_references = 1, .has_count_flags = \
        1, .has_inline_values = 1}, \
    {.version = 0x030f, .free_threaded = 1, .runtime_initialized = 904, .runtime_finalizing = 912, .runtime_interpreters = \
        936, .runtime_main = 944, .runtime_main_thread = 960, .interpreter_next = 7264, .interpreter_id = 7272, \
        .interpreter_threads = 7336, .interpreter_modules = 7592, .interpreter_gil = 16, .interpreter_gc = 7400, \
        .gc_collecting = 112, .gil_holder = 16, .gil_locked = 24, .gil_switches = 32, .gil_size = 216, .thread_next = 8, \
        .thread_interpreter = 16, .thread_frame = 72, .thread_ident = 176, .thread_native_id = 184, .thread_status = 32, \
        .thread_breaker = 24, .thread_remote = 344, .remote_enabled = 8036, .remote_pending = 0, .remote_path = 4, \
        .remote_audits = 10760, .remote_own_audits = 17288, .remote_path_size = 512, .frame_size = 80, .frame_previous = 8, \
        .frame_code = 0, .frame_instruction = 56, .frame_locals = 80, .frame_owner = 78, .frame_bytecode = 72, .code_size = \
        232, .code_arguments = 68, .code_keyword_only = 76, .code_local_count = 96, .code_locals_plus = 88, .code_flags = \
        64, .code_first_line = 84, .code_file = 128, .code_name = 136, .code_qualified_name = 144, .code_lines = 152, \
        .code_adaptive = 232, .code_first_traceable = 208, .code_thread_local = 224, .code_local_names = 112, \
        .code_local_kinds = 120, .object_type = 24, .object_size = 32, .var_size = 32, .var_items = 40, .type_size = 440, \
        .type_name = 40, .type_flags = 184, .type_basic_size = 48, .type_item_size = 56, .type_dict_offset = 304, \
        .type_base = 272, .type_dict = 280, .type_mro = 360, .type_cached_keys = 904, .managed_dict = 8, .dict_used = 32, \
        .dict_keys = 48, .dict_values = 56, .values_items = 8, .keys_log2_size = 8, .keys_log2_index_bytes = 9, .keys_kind \
        = 10, .keys_entry_count = 24, .keys_indices = 32, .unicode_length = 32, .unicode_state = 48, .unicode_ascii_size = \
        56, .unicode_compact_size = 72, .unicode_data = 72, .unicode_kind_shift = 8, .unicode_compact_shift = 11, \
        .unicode_ascii_shift = 12, .bytes_items = 48, .long_size = 32, .long_digits = 40, .float_value = 32, .list_items = \
        40, .tuple_items = 48, .set_used = 40, .set_table = 56, .set_mask = 48, .module_dict = 32, .type_qualified_name = \
        896, .bytearray_start = 56, .function_qualified_name = 56, .generator_qualified_name = 48, .module_name = 56, \
        .frame_mapping = 40, .frame_globals = 24, .has_tagged_lengths = 1, .has_tagged_references = 1, .has_count_flags = \
        1, .has_inline_values = 1},

/* Where _Py_DebugOffsets tells it; .at fields that are 0 are not told. */
#define TOLD_ROWS \
    {.version = 0x030d, .size = 584, .at = {.version = 0x030d, .runtime_finalizing = 32, .runtime_interpreters = 40, \
        .interpreter_next = 64, .interpreter_id = 56, .interpreter_threads = 72, .interpreter_modules = 88, \
        .interpreter_gil = 112, .interpreter_gc = 80, .gc_collecting = 576, .thread_next = 168, .thread_interpreter = 176, \
        .thread_frame = 184, .thread_ident = 192, .thread_native_id = 200, .thread_status = 216, .frame_size = 256, \
        .frame_previous = 232, .frame_code = 240, .frame_instruction = 248, .frame_locals = 256, .frame_owner = 264, \
        .code_size = 344, .code_arguments = 320, .code_first_line = 312, .code_file = 280, .code_name = 288, \
        .code_qualified_name = 296, .code_lines = 304, .code_adaptive = 344, .code_local_names = 328, .code_local_kinds = \
        336, .object_type = 360, .object_size = 352, .type_size = 368, .type_name = 376, .type_flags = 392, .dict_keys = \
        456, .dict_values = 464, .unicode_length = 552, .unicode_state = 544, .unicode_ascii_size = 560, .bytes_items = \
        528, .long_size = 496, .long_digits = 504, .float_value = 480, .list_items = 432, .tuple_items = 408}}, \
    {.version = 0x030e, .size = 760, .at = {.version = 0x030e, .runtime_finalizing = 32, .runtime_interpreters = 40, \
        .interpreter_next = 64, .interpreter_id = 56, .interpreter_threads = 72, .interpreter_modules = 96, \
        .interpreter_gil = 120, .interpreter_gc = 88, .gc_collecting = 656, .thread_next = 192, .thread_interpreter = 200, \
        .thread_frame = 208, .thread_ident = 216, .thread_native_id = 224, .thread_status = 240, .thread_breaker = 712, \
        .thread_remote = 720, .remote_enabled = 728, .remote_pending = 736, .remote_path = 744, .remote_path_size = 752, \
        .frame_size = 280, .frame_previous = 256, .frame_code = 264, .frame_instruction = 272, .frame_locals = 280, \
        .frame_owner = 288, .frame_bytecode = 304, .code_size = 384, .code_arguments = 360, .code_first_line = 352, \
        .code_file = 320, .code_name = 328, .code_qualified_name = 336, .code_lines = 344, .code_adaptive = 384, \
        .code_thread_local = 392, .code_local_names = 368, .code_local_kinds = 376, .object_type = 408, .object_size = 400, \
        .type_size = 416, .type_name = 424, .type_flags = 440, .dict_keys = 536, .dict_values = 544, .unicode_length = 632, \
        .unicode_state = 624, .unicode_ascii_size = 640, .bytes_items = 608, .long_size = 576, .long_digits = 584, \
        .float_value = 560, .list_items = 480, .tuple_items = 456}}, \
    {.version = 0x030f, .size = 888, .at = {.version = 0x030f, .runtime_finalizing = 32, .runtime_interpreters = 40, \
        .interpreter_next = 64, .interpreter_id = 56, .interpreter_threads = 72, .interpreter_modules = 96, \
        .interpreter_gil = 120, .interpreter_gc = 88, .gc_collecting = 760, .thread_next = 192, .thread_interpreter = 200, \
        .thread_frame = 208, .thread_ident = 240, .thread_native_id = 248, .thread_status = 264, .thread_breaker = 840, \
        .thread_remote = 848, .remote_enabled = 856, .remote_pending = 864, .remote_path = 872, .remote_path_size = 880, \
        .frame_size = 344, .frame_previous = 320, .frame_code = 328, .frame_instruction = 336, .frame_locals = 344, \
        .frame_owner = 352, .frame_bytecode = 368, .code_size = 448, .code_arguments = 424, .code_first_line = 416, \
        .code_file = 384, .code_name = 392, .code_qualified_name = 400, .code_lines = 408, .code_adaptive = 448, \
        .code_thread_local = 456, .code_local_names = 432, .code_local_kinds = 440, .object_type = 472, .object_size = 464, \
        .type_size = 480, .type_name = 488, .type_flags = 504, .dict_keys = 632, .dict_values = 640, .unicode_length = 728, \
        .unicode_state = 720, .unicode_ascii_size = 736, .bytes_items = 704, .long_size = 672, .long_digits = 680, \
        .float_value = 656, .list_items = 576, .tuple_items = 552}},
