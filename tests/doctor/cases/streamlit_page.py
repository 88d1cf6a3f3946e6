"""A page runs anew for each user: nothing of it is shared, but what it caches; token_usage is counted."""

import os

import streamlit as st
from crewai import LLM, Crew

st.title("Crew")
key = os.getenv("OPENAI_API_KEY")
llm = LLM(model="m", api_key=key)


@st.cache_resource
def build_crew() -> Crew:  # finds F01
    return Crew(agents=[], tasks=[])


if st.button("Run"):
    st.write(Crew(agents=[], tasks=[]).kickoff().raw)

with open("upload.csv", "w") as file:  # finds F05
    file.write("x")
